import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { judge, type Evidence } from "./check.ts";
import { checkpointOfProof, parseCheckpoint } from "./checkpoint.ts";
import { replacePin, trustOnFirstUse, type Store } from "./pin.ts";
import { sha256Hex } from "./sha256.ts";
import { bundlePaths, tileIndexPath } from "./tile.ts";
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
  // Lengths around the block's end, where padding goes wrong.
  for (const text of ["", "abc", "a".repeat(55), "a".repeat(56), "a".repeat(63), "a".repeat(64), "a".repeat(1000), "plant-1+µ"]) {
    assert.equal(sha256Hex(text), createHash("sha256").update(text).digest("hex"), JSON.stringify(text));
  }
});

function store(initial: string | null = null): Store & { kept: string | null } {
  return {
    kept: initial,
    getItem() {
      return this.kept;
    },
    setItem(_key, value) {
      this.kept = value;
    },
  };
}

test("the first key is kept, another one is reported and not kept", () => {
  const [now, later] = [new Date(0), new Date(1)];
  const browser = store();
  assert.deepEqual(trustOnFirstUse(browser, "key-a", now), { is: "first", pin: { vkey: "key-a", first_seen: now.toISOString() }, kept: true });
  assert.equal(trustOnFirstUse(browser, "key-a", later).is, "same");
  const changed = trustOnFirstUse(browser, "key-b", later);
  assert.equal(changed.is, "changed");
  assert.equal(changed.pin.vkey, "key-a");
  assert.equal(trustOnFirstUse(browser, "key-a", later).is, "same");
  assert.equal(replacePin(browser, "key-b", later).pin.vkey, "key-b");
  assert.equal(trustOnFirstUse(browser, "key-b", later).is, "same");
});

test("a browser that keeps nothing says so", () => {
  const full: Store = {
    getItem: () => null,
    setItem: () => {
      throw new Error("quota");
    },
  };
  for (const browser of [null, full]) {
    const trust = trustOnFirstUse(browser, "key-a", new Date(0));
    assert.ok(trust.is === "first" && !trust.kept);
  }
  // What is not a pin is no pin.
  for (const junk of ["{", "null", "3", '{"vkey":1,"first_seen":"x"}']) assert.equal(trustOnFirstUse(store(junk), "key-a", new Date(0)).is, "first");
});

const EVENT = { action: "SENSOR_READING", status: "SUCCESS", new: "23.50", timestamp: "2026-11-23T19:01:23.123000Z" };
const EVIDENCE: Evidence = {
  leaf: 812,
  envelope: JSON.stringify({ event: EVENT }),
  proof: PROOF,
  checkpoint: parseCheckpoint(CHECKPOINT),
  bundle: new Uint8Array(),
  bundle_path: "/tile/entries/003",
  newest: "not asked",
};
const GOOD: Step[] = [{ name: "checked", detail: "", passed: true }];

async function passes(evidence: Partial<Evidence>, shown: Record<string, string>, steps: Step[] = GOOD): Promise<boolean> {
  return (await judge({ ...EVIDENCE, ...evidence }, "vkey", shown, async () => steps)).passed;
}

test("a verdict passes only when it is about what was asked and what is shown", async () => {
  const shown = { status: "SUCCESS", new: "23.50", timestamp: EVENT.timestamp };
  assert.equal(await passes({}, shown), true);
  assert.equal(await passes({}, { ...shown, timestamp: "2026-11-23T19:01:23.123Z" }), true); // the same moment, written shorter
  assert.equal(await passes({}, { ...shown, new: "23.5" }), false); // a value is text: not what was sealed
  assert.equal(await passes({}, { ...shown, timestamp: "2026-11-23T19:01:24Z" }), false);
  assert.equal(await passes({ leaf: 813 }, shown), false); // a good proof of another leaf
  assert.equal(await passes({ proof: PROOF.replace("index 812\n", "") }, shown), false);
  assert.equal(await passes({ envelope: "not JSON" }, shown), false);
  assert.equal(await passes({}, shown, []), false); // a verifier that checked nothing
  assert.equal(await passes({}, shown, [...GOOD, { name: "signed", detail: "", passed: false }]), false);
});
