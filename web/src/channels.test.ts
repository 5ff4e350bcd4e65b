import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sealed, SensorAnswer, SensorOrder } from "./api.ts";
import { channelsOf, corrected, inOrder, scaled, shownValue } from "./channels.ts";
import { asWritten, numberOf, readingOf } from "./event.ts";
import { marksOf } from "./marks.ts";

const DECLARED = '[{"kind":"number","name":"t","range":"0..50","scale":-2,"unit":"°C"},{"name":"h"},{"kind":"boolean","name":"ok"},{"kind":"numbers","name":"wave","scale":1},{"kind":"text","name":"__proto__"}]';

test("a scale moves the point and keeps the digits, as the site does it", () => {
  for (const [number, scale, expected] of [
    ["2350", -2, "23.50"],
    ["-2350", -2, "-23.50"],
    ["5", -2, "0.05"],
    ["-5", -3, "-0.005"],
    ["0", -1, "0.0"],
    ["7", 3, "7000"],
    ["0", 3, "0"],
    ["-7", 1, "-70"],
    ["23.50", 0, "23.50"],
    ["23.50", -2, "23.50e-2"],
    ["2.5", 18, "2.5e18"],
    ["-1E+5", -2, "-1e3"],
    ["1e-400", 18, "1e-382"],
    ["1e99999999999999999999", 2, "1e99999999999999999999"],
  ] as const) {
    assert.equal(scaled(number, scale), expected);
  }
});

test("a reading is taken apart by what was declared when it was sealed", () => {
  const value = ' { "\\u0074": 2350, "h":41.0,"ok":true, "wave" : [ 1, 2.5,-3e4 ],"none":null,"__proto__":"a: \\"b\\", {c}" } ';
  const channels = channelsOf(value, DECLARED, '{"t":"2 -0.5","ok":"2 0"}')!;
  assert.deepEqual(Object.entries(channels), [
    ["t", { value: "23.50", calibrated: 46.5, unit: "°C" }],
    ["ok", { value: "true" }],
    ["wave", { value: "[10,2.5e1,-3e5]" }],
    ["__proto__", { value: 'a: "b", {c}' }],
  ]);
  assert.deepEqual(inOrder(channels, ["wave"]).map(([name]) => name), ["wave", "t", "ok", "__proto__"]);
  for (const [text, declared] of [["{", DECLARED], ["{}", DECLARED], ["7", "[]"], ['{"t":1}', "no JSON"]] as const) {
    assert.equal(channelsOf(text, declared, undefined), undefined);
  }
});

test("a number is corrected by first the product and then the sum, and stays finite", () => {
  assert.equal(corrected("3", "0.1 0.2"), 0.1 * 3 + 0.2);
  assert.equal(corrected("1e300", "-1e300 5"), -Number.MAX_VALUE);
  for (const [value, line] of [["warm", "2 0"], ["1", undefined], ["1e400", "2 0"]] as const) assert.equal(corrected(value, line), undefined);
  for (const [value, calibrated, shown] of [
    ["24.1", 24.1 * 1.02, "24.582"],
    ["20.61", 23.170817827, "23.1708"],
    ["20", 0.02, "0.02"],
    ["0", 1 / 3, "0.33"],
    ["0.1e-5", 1e-6 / 3, "3.33e-7"],
  ] as const) {
    assert.equal(shownValue({ value, calibrated }), shown);
  }
  assert.equal(shownValue({ value: "24.10" }), "24.10");
});

const sealed = (sealwire: object, event: object): Sealed => ({ leaf: 7, envelope: { event: { action: "SENSOR_READING", status: "SUCCESS", timestamp: "2026-11-29T12:00:00.000000Z", ...event }, received_at: "", salt: "", sealwire: { sensor: "a", ...sealwire } } });

test("a live reading is corrected by the calibration that is sealed with it, and compared without", () => {
  const one = readingOf(sealed({ calibration: "2 1.5" }, { new: "24.5" }))!;
  assert.deepEqual([one.value, one.calibrated, numberOf(one)], ["24.5", 50.5, 50.5]);
  assert.deepEqual(asWritten(one), readingOf(sealed({}, { new: "24.5" })));
  const several = readingOf(sealed({ channels: DECLARED, calibration: '{"t":"2 0"}' }, { new: '{"t":100}' }))!;
  assert.deepEqual([several.calibrated, several.channels], [undefined, { t: { value: "1.00", calibrated: 2, unit: "°C" } }]);
  assert.deepEqual(asWritten(several), readingOf(sealed({ channels: DECLARED }, { new: '{"t":100}' })));
  const failed = readingOf(sealed({ calibration: "2 1.5" }, { status: "COMM_ERROR", new: "N/A" }))!;
  assert.deepEqual([failed.calibrated, numberOf(failed)], [undefined, null]);
});

test("a plot is marked where hardware was replaced and where a calibration begins", () => {
  const given = (fields: Partial<SensorOrder>): SensorOrder => ({ order: "calibrate", by: "ada", at: "2026-11-29T12:00:00Z", reason: "yearly", ...fields });
  const orders = [given({ gain: "2", offset: "1", from: "2026-11-02T00:00:00Z" }), given({ gain: "3", offset: "0", from: "2026-11-01T00:00:00Z", channel: "t" }), given({ order: "rename", alias: "x" })];
  const replaced = sealed({ order: '{"order":"replace","device":null}', why: "broken" }, { action: "SENSOR_REPLACED", actor: "eve", timestamp: "2026-11-03T00:00:00.000000Z" });
  const by_program = sealed({}, { action: "SENSOR_REPLACED" });
  const marks = (channel: string | null) => marksOf([replaced, by_program], { orders } as SensorAnswer, channel).map(({ name, text }) => `${name} ${text}`);
  const replacement = "Replaced Replaced by another device: broken (eve)";
  assert.deepEqual(marks(null), ["Calibrated Calibrated from 2026-11-02T00:00:00Z on: value × 2 + 1: yearly (ada)", replacement]);
  assert.deepEqual(marks("t"), ["Calibrated Channel t calibrated from 2026-11-01T00:00:00Z on: value × 3 + 0: yearly (ada)", replacement]);
});
