import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "svelte/server";
import type { Component } from "svelte";
import type { Envelope, Reading, SensorAnswer, SensorsAnswer, SiteAnswer } from "./api.ts";
import { isBlank, piecesOf, plainly } from "./said.ts";

/**
 * Begins with every kind of character that affects the text around it, and ends with the name of
 * the text.
 */
const hostile = (name: string): string => `\u202e\u200b\u0007\u00ad\u3000 ${"\u0301".repeat(9)}\u2028<b>\ud800EVIL ${name} `;

/** Makes every text in a component's input hostile, whatever its type says. */
function evil<Value>(value: Value, name = ""): Value {
  if (typeof value === "string") return hostile(name) as Value;
  if (Array.isArray(value)) return value.map((item, at) => evil(item, `${name}.${at}`)) as Value;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, evil(inner, `${name}.${field}`)])) as Value;
}

const TEXT = "";
const last = { leaf: 7, timestamp: TEXT, status: "SUCCESS" as const, value: TEXT, unit: TEXT };
const CHANNEL = { name: TEXT, quantity: TEXT, unit: TEXT, kind: "number" as const, range: [0, 1] as [number, number], standing: "outside" as const, last };
const SENSOR: SensorAnswer = evil({ id: TEXT, alias: TEXT, location: TEXT, state: "online" as const, out_of_range: true, not_judged: true, paused: true, poll_interval_ms: 1, orders: [{ order: "rename" as const, by: TEXT, at: TEXT, reason: TEXT, alias: TEXT }], doubled: TEXT, rule: TEXT, unit: TEXT, quantity: TEXT, range: [0, 1] as [number, number], last, recent: [], channels: [CHANNEL] }, "sensor");
const SITE: SiteAnswer = {
  log: "a7".repeat(32),
  ...evil({ name: TEXT, origin: TEXT, vkey: TEXT, log_url: TEXT, version: TEXT }, "site"),
  open: true,
  mirrored: true,
  refused_devices: 1,
  leaves: 1,
  followers: [],
  shortest_interval_ms: null,
  clock: { synchronised: false, offset_ms: 1, ...evil({ source: TEXT, since: TEXT }, "clock"), believed: true, steps: 1 },
  counters: { polls: 0, answers: 0, timeouts: 0, value_errors: 0, late: 0, duplicates: 0, dropped: 0, passed_over: 0, skipped: 0, refused_heartbeats: 0 },
};
const TOTALS = { sensors: 1, online: 1, lost: 0, disconnected: 0, retired: 0, out_of_range: 1, attention: 1 };
const SENSORS: SensorsAnswer = { sensors: [SENSOR], next: null, found: 1, totals: TOTALS, locations: [{ location: SENSOR.location, sensors: 1, found: 1 }] };
const EVENT = { action: TEXT, actor: TEXT, message: TEXT, new: TEXT, old: TEXT, source: TEXT, status: TEXT, target: TEXT, timestamp: TEXT, custom: TEXT };
const OWN: Envelope = evil({ event: EVENT, received_at: TEXT, salt: TEXT, sealwire: { sensor: TEXT, unit: TEXT, raw: TEXT } }, "own");
const PROGRAMS: Envelope = evil({ event: EVENT, received_at: TEXT, salt: TEXT }, "program");
const reading = (status: string): Reading => ({ ...evil({ sensor: TEXT, timestamp: TEXT, value: TEXT, flags: TEXT, unit: TEXT }, "reading"), leaf: 7, status: status as "SUCCESS" });
const MEASURED: Reading = { ...reading("SUCCESS"), channels: { [hostile("name")]: { ...evil({ value: TEXT, unit: TEXT }, "channel"), calibrated: 1 } } };
const PIN = { log: "00", key: { leaf: 9, vkey: hostile("vkey") }, first_seen: hostile("first_seen") };
const FINDINGS = {
  evidence: { ...evil({ envelope: TEXT, proof: TEXT, bundle_path: TEXT, newest: TEXT }, "evidence"), leaf: 7, bundle: new Uint8Array(), checkpoint: { ...evil({ origin: TEXT, root: TEXT, text: TEXT }, "checkpoint"), tree_size: 9 } },
  verdict: { passed: true, sealed: OWN, steps: [evil({ name: TEXT, detail: TEXT, passed: false }, "step")], renamed: evil({ sealed: TEXT, shown: TEXT }, "renamed") },
  error: hostile("error"),
  trust: { is: "unproved", pin: PIN, why: hostile("why") },
  retry: () => {},
};

/** Inputs for rendering each component. A new component needs its line here. */
const CASES: Record<string, object[]> = {
  App: [{}],
  "parts/EventRow": [OWN, PROGRAMS, { ...PROGRAMS, event: { message: hostile("message") } }, { ...PROGRAMS, event: { actor: hostile("actor") } }].map((envelope) => ({ sealed: { leaf: 7, envelope } })),
  "parts/FeedMark": [{}],
  "parts/Findings": ["passed", "renamed", "failed", "error"].map((outcome) => ({ outcome, ...FINDINGS })),
  "parts/Header": [{}],
  "parts/Icon": [{ name: "online" }],
  "parts/KeyTrust": [{ is: "first", kept: true }, { is: "same" }, { is: "other_log", offered: PIN, seen: hostile("seen") }, { is: "broken", offered: PIN }, FINDINGS.trust].map((trust) => ({ trust: { pin: PIN, ...trust } })),
  "parts/KeyWarning": [{}],
  "parts/Logo": [{}],
  "parts/Losses": [{ counters: SITE.counters, clock: SITE.clock }],
  "parts/Marks": [{ sensor: SENSOR }],
  "parts/CopiedEvents": [{ count: 9, events: [{ envelope: { event: evil(EVENT, "copied"), received_at: hostile("received_at") }, hash: hostile("hash"), proved: true }, { envelope: {}, hash: null, proved: false }] }],
  "parts/Mirror": [{}],
  "parts/MirrorState": [{ answer: { ...evil({ server: TEXT, trouble: TEXT, newest_parked: [{ leaf: 7, reason: TEXT }] }, "mirror"), leaves: 9, next_leaf: 7, lag_leaves: 2, taken: 7, parked: 1 } }],
  "parts/Orders": [{ sensor: SENSOR }],
  "parts/Plot": [{ series: { times_s: [], values: [], units: [] }, view: { window_ms: 3_600_000, range: null, whole_range: false, unit: hostile("unit"), marks: [{ at_s: Date.now() / 1000, name: "Replaced", text: hostile("mark") }] }, label: plainly(hostile("label")) }],
  "parts/Problem": [{ title: "Title", said: hostile("said"), retry: () => {} }],
  "parts/ReadingRow": ["SUCCESS", "COMM_ERROR", "VALUE_ERROR", hostile("status")].map((status) => ({ reading: reading(status), source: hostile("source"), order: [] })).concat([{ reading: MEASURED, source: hostile("source"), order: [hostile("name")] }]),
  "parts/RefusalList": [{ title: "Title", found: 9, refusals: [evil({ who: TEXT, why: TEXT, advice: TEXT, count: 2, last: TEXT, sensors: [{ id: TEXT, alias: TEXT }], covers: 9 }, "refusal")] }],
  "parts/Refusals": [{}, { sensor: SENSOR.id }],
  "parts/Said": [{ text: hostile("text"), blank: "Nothing" }],
  "parts/SensorList": [{}],
  "parts/SensorRow": [{ sensor: { id: SENSOR.id, shown: SENSOR } }, { sensor: { id: SENSOR.id, shown: { ...SENSOR, out_of_range: false, state: "lost" } } }],
  "parts/Sparkline": [{ points: [] }],
  "parts/Summary": [{}],
  "parts/VerifyButton": [{ claim: { leaf: 7 } }],
  "parts/VerifyDialog": [{ claim: { leaf: 7 } }],
  "views/Fleet": [{}],
  "views/Log": [{}],
  "views/Sensor": [{ id: SENSOR.id }, { id: hostile("id") }],
};

const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|\p{M}{5}/u;
const TAG = /<!--.*?-->|<\/?[a-z][^\s">]*(?:\s+[^\s=">]+(?:="[^"]*")?)*\s*\/?>/gs;
/** Attributes that a person sees or hears. */
const SHOWN = ["title", "aria-label", "placeholder", "label", "alt"];

/** Texts that are shown without `Said` or `plainly`. */
function faults(html: string): string[] {
  const found: string[] = [];
  // An isolating element contains no other one of its kind.
  const outside = html.replace(/<bdi(?: class="[^"]*")?>.*?<\/bdi>/gs, (inside) => (UNSEEN.test(inside) ? inside : ""));
  for (const { 0: tag } of html.matchAll(TAG)) {
    for (const { 1: name = "", 2: value = "" } of tag.matchAll(/([a-z-]+)="([^"]*)"/g)) {
      if (SHOWN.includes(name) && /EVIL/.test(value) && !isIsolated(value)) found.push(`${name}="${value}"`);
    }
  }
  const text = outside.replace(TAG, "\n");
  for (const line of text.split("\n")) if (/EVIL/.test(line) && !isIsolated(line)) found.push(line);
  return found;
}

/**
 * Whether each hostile text lies between isolating characters and contains nothing else invisible.
 */
function isIsolated(text: string): boolean {
  const rest = text.replace(/\u2068([^\u2068\u2069]*)\u2069/gu, (_whole, inner: string) => (UNSEEN.test(inner) ? inner : ""));
  return !/EVIL/.test(rest) && !UNSEEN.test(rest);
}

test("no text from outside is shown but isolated, with its unseen characters marked", async () => {
  const json = (body: object) => new Response(JSON.stringify(body), { headers: { "content-type": "application/json" } });
  const nobody = { addEventListener: () => {}, hidden: true, matches: false, documentElement: { dataset: {} } };
  Object.assign(globalThis, {
    addEventListener: () => {},
    document: nobody,
    location: { hash: "", href: "http://site.test/", origin: "http://site.test", pathname: "/" },
    matchMedia: () => nobody,
    fetch: async (url: string) =>
      url.endsWith("/session") ? json({ name: hostile("operator"), operates: true }) : url.endsWith("/api/site") ? json(SITE) : url.includes("/sensors?") ? json(SENSORS) : new Response("{}", { status: 404 }),
  });
  const { site } = await import("./site.svelte.ts");
  const { session } = await import("./session.svelte.ts");
  await Promise.all([site.refresh(), session.look()]);
  assert.ok(site.answer !== null && site.sensors.row(0)?.id === SENSOR.id);
  Object.assign(site, { answer_error: hostile("answer_error"), trust: FINDINGS.trust });
  site.sensors.error = hostile("sensors_error");

  const components = import.meta.glob<{ default: Component }>(["./App.svelte", "./parts/*.svelte", "./views/*.svelte"]);
  const names = Object.keys(components).map((file) => file.slice("./".length, -".svelte".length));
  assert.deepEqual(names.toSorted(), Object.keys(CASES).toSorted());
  let seen = 0;
  for (const [file, load] of Object.entries(components)) {
    const { default: component } = await load();
    for (const props of CASES[file.slice("./".length, -".svelte".length)]!) {
      const html = render(component, { props }).body;
      assert.deepEqual(faults(html), [], file);
      seen += html.match(/EVIL/g)?.length ?? 0;
    }
  }
  for (const trust of [{ is: "other_log", pin: PIN, offered: PIN, seen: hostile("seen") }, { is: "broken", pin: PIN, offered: PIN }]) {
    Object.assign(site, { trust });
    const { default: warning } = await components["./parts/KeyWarning.svelte"]!();
    assert.deepEqual(faults(render(warning, { props: {} }).body), []);
  }
  Object.assign(site, { answer_error: null, feed: { is: "reconnecting", since_ms: 0, why: hostile("feed") } });
  const { default: app } = await components["./App.svelte"]!();
  const html = render(app, { props: {} }).body;
  assert.deepEqual(faults(html), []);
  assert.match(html, /EVIL feed/);
  // Proves that the test has examined texts and can detect faults.
  assert.ok(seen > 100, `${seen} texts were looked at`);
  for (const html of [`<p>${hostile("x")}</p>`, "<p>EVIL</p>", `<p title="EVIL"></p>`, `<bdi>\u202eEVIL</bdi>`, "<option>EVIL</option>"]) assert.ok(faults(html).length > 0, html);
});

test("what cannot be seen in a text is marked, and scripts are left alone", () => {
  const shown = (text: string) => piecesOf(text).map(({ text, mark }) => (mark ? `[${text}]` : text)).join("");
  for (const [text, expected] of [
    ["Temp\u202e10rosneS", "Temp[U+202E]10rosneS"],
    ["a\u200bb", "a[U+200B]b"],
    ["", ""],
    ["  ", "[␣][␣]"],
    [" a  b ", "[␣]a [␣]b[␣]"],
    ["a\u00a0b\u3000c", "a[U+00A0]b[U+3000]c"],
    ["a\tb\nc", "a[⇥]b[⏎]c"],
    ["\ud800", "[U+D800]"],
    ["\u2800\u3164\u{e0041}", "[U+2800][U+3164][U+E0041]"],
    ["\u0301x", "[U+0301]x"],
    [`e${"\u0301".repeat(6)}`, `e${"\u0301".repeat(4)}[U+0301][U+0301]`],
    ["23.50 µm/s² °C Ω", "23.50 µm/s² °C Ω"],
    ["temp\u00e9rature, cafe\u0301", "temp\u00e9rature, cafe\u0301"],
    ["خزان الماء", "خزان الماء"],
    ["锅炉 3号 🔥", "锅炉 3号 🔥"],
  ] as const) {
    assert.equal(shown(text), expected, JSON.stringify(text));
  }
  assert.ok(["", " ", "\u200b", "\u2800\u00ad"].every(isBlank) && !isBlank("\u200bx"));
  assert.deepEqual(piecesOf("a\nb", true), [{ text: "a\nb", mark: false }]);
  assert.equal(plainly("a\u202eb"), "\u2068a<U+202E>b\u2069");
});
