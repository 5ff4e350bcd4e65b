import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { Envelope, Reading } from "../api.ts";
import { readingOf } from "../event.ts";
import { judge, type Evidence, type Verdict } from "./check.ts";
import { checkpointOfProof, parseCheckpoint } from "./checkpoint.ts";
import { claimOfEvent, claimOfReading, differences, fieldsOf, type Claim } from "./claim.ts";
import { sha256Hex } from "./sha256.ts";
import { bundlePaths, tileIndexPath } from "./tile.ts";
import { TrustBook, type Keys, type Store } from "./trust.ts";
import type { Step } from "./verifier.ts";

test("a tile's index is written in groups of three", () => {
  for (const [index, path] of [
    [0, "000"],
    [67, "067"],
    [999, "999"],
    [1_000, "x001/000"],
    [1_234_067, "x001/x234/067"], // the specification's own example
    [1_000_000, "x001/x000/000"],
  ] as const) {
    assert.equal(tileIndexPath(index), path);
  }
  for (const index of [-1, 1.5, NaN, 2 ** 53]) assert.throws(() => tileIndexPath(index), RangeError);
});

test("a bundle is full when the tree covers it, partial when not", () => {
  for (const [leaf, tree_size, path] of [
    [0, 1, "/tile/entries/000.p/1"],
    [0, 255, "/tile/entries/000.p/255"],
    [255, 256, "/tile/entries/000"], // exactly full: never `.p/0` or `.p/256`
    [0, 257, "/tile/entries/000"],
    [256, 257, "/tile/entries/001.p/1"],
    [812, 12_345, "/tile/entries/003"],
    [12_344, 12_345, "/tile/entries/048.p/57"],
    [256 * 1_234_067, 256 * 1_234_067 + 5, "/tile/entries/x001/x234/067.p/5"],
  ] as const) {
    assert.equal(bundlePaths(leaf, tree_size).path, path, `leaf ${leaf} of ${tree_size}`);
  }
  assert.equal(bundlePaths(256, 257).full_path, "/tile/entries/001");
  assert.throws(() => bundlePaths(1, 1), RangeError);
});

const CHECKPOINT = "sealwire.local/plant-1\n1733\nb3QEfm1Q5bmZ+eSvdh1QMURMaJUkH/mG43OOWTUJMB8=\n\n— sealwire.local/plant-1 5pUtK8rB\n";
const PROOF = `c2sp.org/tlog-proof@v1\nindex 812\nq0kx\n\n${CHECKPOINT}`;

test("a checkpoint is found at the end of a proof", () => {
  assert.deepEqual(checkpointOfProof(PROOF), parseCheckpoint(CHECKPOINT));
  assert.equal(parseCheckpoint(CHECKPOINT).tree_size, 1733);
  for (const text of ["", "a\n", "a\n-1\nroot\n", "a\n01\nroot\n", "a\n1e3\nroot\n", "a\n99999999999999999999\nroot\n", "a\n1\n\n"]) {
    assert.throws(() => parseCheckpoint(text), /checkpoint/, JSON.stringify(text));
  }
  for (const text of [CHECKPOINT, PROOF.replace("@v1", "@v2"), "c2sp.org/tlog-proof@v1\nindex 812\n"]) assert.throws(() => checkpointOfProof(text), /tlog-proof/);
});

test("SHA-256 is what everyone else's is", () => {
  // Lengths near the end of a block, where padding errors show.
  for (const text of ["", "abc", "a".repeat(55), "a".repeat(56), "a".repeat(63), "a".repeat(64), "a".repeat(1000), "plant-1+µ"]) {
    assert.equal(sha256Hex(text), createHash("sha256").update(text).digest("hex"), JSON.stringify(text));
  }
});

function browser(initial: Record<string, string> = {}): Store & { kept: Map<string, string> } {
  const kept = new Map(Object.entries(initial));
  return { kept, getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => void kept.set(name, value), removeItem: (name) => void kept.delete(name) };
}

const [FIRST, LATER] = [new Date(0), new Date(1)];
const HERE = "http://localhost:8080/";
const key = (name: string, leaf = 0) => ({ leaf, vkey: `plant+${name}` });
/** A log that changed from each of these keys to the next, every ten leaves. */
const keys = (first: string, ...rest: string[]): Keys => [key(first), ...rest.map((name, at) => key(name, (at + 1) * 10))];

test("a log is followed from the key that was seen first, and only from there", () => {
  const book = new TrustBook(browser(), HERE);
  assert.equal(book.pin(), null);
  assert.deepEqual(book.meet(keys("a"), FIRST), { is: "first", pin: { log: sha256Hex("plant+a"), key: key("a"), first_seen: FIRST.toISOString() }, kept: true });
  assert.equal(book.meet(keys("a"), LATER).is, "same");
  const followed = { is: "same", pin: { log: sha256Hex("plant+a"), key: key("c", 20), first_seen: FIRST.toISOString() } };
  assert.deepEqual(book.meet(keys("a", "b", "c"), LATER), followed);
  assert.deepEqual(book.pin(), followed.pin);
  for (const [name, other] of [
    ["the history before its last rotation", keys("a", "b")],
    ["another rotation by a key that is no longer in use", keys("a", "x")],
    ["the same key, brought in at another leaf", [key("a"), key("b", 10), key("c", 19)] as unknown as Keys],
  ] as const) {
    const broken = book.meet(other, LATER);
    assert.deepEqual([broken.is, broken.pin?.key], ["broken", key("c", 20)], name);
  }
  assert.equal(book.meet(keys("a", "b", "c", "d"), LATER).pin?.key.vkey, "plant+d");
});

test("an address that shows another log says so, also where that log is known", () => {
  const store = browser();
  const [here, there] = [new TrustBook(store, HERE), new TrustBook(store, `${HERE}plant-2/`)];
  here.meet(keys("a"), FIRST);
  // Two logs at two addresses of one origin are two logs. The second needs a person's decision,
  // even under another path.
  const second = there.meet(keys("b"), FIRST);
  assert.ok(second.is === "other_log" && second.pin.key.vkey === "plant+a" && second.seen === null);
  assert.equal(there.accept(second.offered).is, "first");
  assert.equal(there.meet(keys("b"), LATER).is, "same");
  assert.equal(here.meet(keys("a"), LATER).is, "same");
  const other = here.meet(keys("b", "c"), LATER);
  assert.ok(other.is === "other_log" && other.seen === FIRST.toISOString());
  assert.equal(here.pin()?.key.vkey, "plant+a");
  // A log known at one address is known at the other, and is followed from its stored key.
  assert.equal(new TrustBook(store, `${HERE}mirror/`).meet(keys("x", "b", "c"), LATER).is, "other_log");
  assert.equal(new TrustBook(store, `${HERE}copy/`).meet(keys("b", "c"), LATER).pin?.first_seen, FIRST.toISOString());
  assert.equal(here.accept(other.offered).is, "first");
  assert.equal(here.meet(keys("b", "c"), LATER).is, "same");
  assert.equal(here.meet(keys("a"), LATER).is, "other_log");
});

test("a key that an earlier version kept is followed, or warned of, and then kept with its log", () => {
  const before = { "sealwire.vkey": JSON.stringify({ vkey: "plant+b", first_seen: FIRST.toISOString() }) };
  const store = browser(before);
  const followed = new TrustBook(store, HERE).meet(keys("a", "b", "c"), LATER);
  assert.deepEqual(followed, { is: "same", pin: { log: sha256Hex("plant+a"), key: key("c", 20), first_seen: FIRST.toISOString() } });
  assert.deepEqual([...store.kept.keys()], ["sealwire.trust"]);
  const changed = new TrustBook(browser(before), HERE).meet(keys("a", "c"), LATER);
  assert.deepEqual([changed.is, changed.pin?.key.vkey], ["other_log", "plant+b"]);
});

test("a browser that keeps nothing says so, and warns for as long as the page is open", () => {
  const full: Store = {
    getItem: () => null,
    setItem: () => {
      throw new Error("quota");
    },
    removeItem: () => {},
  };
  for (const store of [null, full]) {
    const book = new TrustBook(store, HERE);
    const trust = book.meet(keys("a"), FIRST);
    assert.ok(trust.is === "first" && !trust.kept);
    assert.equal(book.meet(keys("b"), LATER).is, "other_log");
  }
  // Invalid storage content is not a pin.
  for (const junk of ["{", "null", "3", '{"logs":{"x":{}},"addresses":{}}', '{"vkey":1,"first_seen":"x"}']) {
    for (const name of ["sealwire.trust", "sealwire.vkey"]) assert.equal(new TrustBook(browser({ [name]: junk }), HERE).meet(keys("a"), FIRST).is, "first");
  }
});

const AT = "2026-11-23T19:01:23.123000Z";
const SENSOR = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";
/** A reading with every possible field. */
const READING: Envelope = {
  event: { action: "SENSOR_READING", actor: "poller", message: "Boiler.T1: 23.50", new: "23.50", source: "Boiler.T1", status: "SUCCESS", timestamp: AT },
  received_at: "2026-11-23T19:01:23.456000Z",
  salt: "87864459dc242de8f9130cd3a068bbbd",
  sealwire: { poll: 7, range: "0..50", sensor: SENSOR, sensor_time: AT, seq: 4, unit: "°C" },
};
const PROGRAMS: Envelope = { event: { ...READING.event, message: "m" }, received_at: AT, salt: "00" };
const SHOWN = readingOf({ leaf: 812, envelope: READING })!;
const EVIDENCE: Evidence = {
  leaf: 812,
  envelope: JSON.stringify(READING),
  proof: PROOF,
  checkpoint: parseCheckpoint(CHECKPOINT),
  bundle: new Uint8Array(),
  bundle_path: "/tile/entries/003",
  newest: "not asked",
};
const GOOD: Step[] = [{ name: "checked", detail: "", passed: true }];

const verdictOn = (claim: Claim, evidence: Partial<Evidence> = {}, steps: Step[] = GOOD): Promise<Verdict> =>
  judge({ ...EVIDENCE, ...evidence }, key("a"), claim, async () => steps);

const passes = async (claim: Claim, evidence: Partial<Evidence> = {}, steps: Step[] = GOOD): Promise<boolean> => (await verdictOn(claim, evidence, steps)).passed;

const inLog = (envelope: Envelope): Claim => claimOfEvent({ leaf: 812, envelope });
const inTable = (reading: Reading, source?: string): Claim => claimOfReading(reading, source);

/** `value` with each of its fields changed, then removed, then with one added, at every depth. */
function* tampered(value: object): Generator<[string, object]> {
  for (const [name, field] of Object.entries(value)) {
    const { [name]: _, ...without } = value as Record<string, unknown>;
    yield [`without ${name}`, without];
    if (typeof field === "object") for (const [what, changed] of tampered(field as object)) yield [`${name}: ${what}`, { ...value, [name]: changed }];
    else yield [`another ${name}`, { ...value, [name]: typeof field === "number" ? field + 1 : `${field}0` }];
  }
  yield ["one field more", { ...value, more: "x" }];
}

test("every field that a row is drawn from is compared with what was sealed", async () => {
  assert.equal(await passes(inLog(READING)), true);
  assert.equal(await passes(inTable(SHOWN)), true);
  for (const [what, shown] of tampered(READING)) assert.equal(await passes(inLog(shown as Envelope)), false, what);
  for (const [what, shown] of tampered(SHOWN)) assert.equal(await passes(inTable(shown as Reading)), false, what);
});

test("what a program logged is never the site's own, and no sensor's reading", async () => {
  const envelope = JSON.stringify(PROGRAMS);
  assert.equal(await passes(inLog(PROGRAMS), { envelope }), true);
  assert.equal(await passes(inLog({ ...PROGRAMS, sealwire: {} }), { envelope }), false);
  assert.equal(await passes(inTable(SHOWN), { envelope }), false);
});

test("a sensor that was sealed under another name is never called unchanged", async () => {
  assert.equal((await verdictOn(inTable(SHOWN, "Boiler.T1"))).renamed, null);
  const { passed, renamed } = await verdictOn(inTable(SHOWN, "Freezer.T1"));
  assert.deepEqual([passed, renamed], [true, { sealed: "Boiler.T1", shown: "Freezer.T1" }]);
});

test("a verdict passes only about an event, and only where everything was checked", async () => {
  const fewer_digits = { ...READING, event: { ...READING.event, timestamp: "2026-11-23T19:01:23.123Z" } };
  assert.equal(await passes(inTable(SHOWN), { envelope: JSON.stringify(fewer_digits) }), true); // the same moment, written shorter
  for (const [evidence, steps] of [
    [{ envelope: "not JSON" }, GOOD],
    [{ envelope: "null" }, GOOD],
    [{ envelope: '{"event":null}' }, GOOD],
    [{}, []], // a verifier that checked nothing
    [{}, [...GOOD, { name: "signed", detail: "", passed: false }]],
  ] as [Partial<Evidence>, Step[]][]) {
    for (const claim of [inLog(READING), inTable(SHOWN)]) {
      const { passed, sealed } = await verdictOn(claim, evidence, steps);
      assert.deepEqual([passed, evidence.envelope === undefined ? sealed : null], [false, null], JSON.stringify(evidence));
    }
  }
});

test("differences are found wherever they are, and names that JSON allows are names", () => {
  const found = (sealed: string, shown: string) => differences(JSON.parse(sealed), JSON.parse(shown)).map(({ field }) => field);
  assert.deepEqual(found('{"a":{"b":[1,2]}}', '{"a":{"b":[1,3,4]}}'), ["a.b.1", "a.b.2"]);
  assert.deepEqual(found('{"__proto__":"x"}', "{}"), ["__proto__"]);
  assert.deepEqual(found("[]", "{}"), [""]);
  assert.deepEqual(fieldsOf(PROGRAMS).map(([name]) => name).slice(-3), ["event.timestamp", "received_at", "salt"]);
});
