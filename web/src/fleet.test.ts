import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "svelte/server";
import type { ChannelAnswer, Reading, Sealed, SensorAnswer, SensorOrder } from "./api.ts";
import { flagsInWords, isBadNews, isReading, matches, numberOf, readingOf } from "./event.ts";
import { beyondRange, needsAttention, rangeOf, RECENT_MAX, refetched, withEvents } from "./fleet.ts";
import Marks from "./parts/Marks.svelte";
import { joined, readingsOf, seriesOf, seriesOfPlot } from "./readings.ts";

const SENSOR: SensorAnswer = {
  id: "a",
  alias: "TempSensor01",
  location: "Boiler Room",
  state: "online",
  out_of_range: false,
  not_judged: false,
  paused: false,
  poll_interval_ms: 1000,
  orders: [],
  doubled: null,
  rule: null,
  unit: "°C",
  quantity: "temperature",
  range: [0, 50],
  last: null,
  recent: [],
};

const at = (leaf: number): string => new Date(leaf * 1000).toISOString();

function reading(leaf: number, value = "1", status = "SUCCESS"): Sealed {
  const event = { action: "SENSOR_READING", status, new: value, timestamp: at(leaf), source: "Boiler Room.TempSensor01" };
  return { leaf, envelope: { event, received_at: at(leaf), salt: "", sealwire: { sensor: "a", unit: "°C", range: "0..50" } } };
}

const event = (leaf: number, action: string): Sealed => ({ leaf, envelope: { event: { action }, received_at: at(leaf), salt: "", sealwire: { sensor: "a" } } });

test("a range is read as it is sealed", () => {
  for (const [text, range] of [
    ["0..50", [0, 50]],
    ["-100..-0.5", [-100, -0.5]],
    ["0..50 hysteresis 2 delay 5000", [0, 50]],
    [undefined, null],
    ["50", null],
    ["a..b", null],
  ] as const) {
    assert.deepEqual(rangeOf(text), range, text);
  }
});

test("a derived event moves the channel that it names", () => {
  const channel = (name: string): ChannelAnswer => ({ name, kind: "number", quantity: null, unit: null, range: [0, 50], standing: "inside", last: null });
  const about = (leaf: number, action: string, name: string): Sealed => ({ leaf, envelope: { event: { action }, received_at: at(leaf), salt: "", sealwire: { sensor: "a", channel: name } } });
  let sensor: SensorAnswer = { ...SENSOR, channels: [channel("t"), channel("h")] };
  for (const [action, name, standings, out_of_range, not_judged] of [
    ["OUT_OF_RANGE", "h", ["inside", "outside"], true, false],
    ["RANGE_NOT_JUDGED", "t", ["not_judged", "outside"], true, true],
    ["BACK_IN_RANGE", "h", ["not_judged", "inside"], false, true],
    ["BACK_IN_RANGE", "t", ["inside", "inside"], false, false],
  ] as const) {
    sensor = withEvents(sensor, [about(1, action, name)]);
    assert.deepEqual([sensor.channels?.map(({ standing }) => standing), sensor.out_of_range, sensor.not_judged], [standings, out_of_range, not_judged]);
  }
  const channels = '[{"name":"t","scale":-1,"unit":"K"},{"name":"h"}]';
  const event = { action: "SENSOR_READING", status: "SUCCESS", new: '{"t":215}', timestamp: at(3) };
  const { channels: after } = withEvents(sensor, [{ leaf: 3, envelope: { event, received_at: at(3), salt: "", sealwire: { sensor: "a", channels } } }]);
  assert.deepEqual(after?.map(({ last }) => last?.value), ["21.5", undefined]);
});

test("readings move a sensor on, once each", () => {
  const after = withEvents({ ...SENSOR, range: null }, [reading(1, "20"), reading(2, "N/A", "COMM_ERROR")]);
  assert.deepEqual(after.recent, [
    [1000, 20],
    [2000, null],
  ]);
  assert.equal(after.last?.status, "COMM_ERROR");
  assert.equal(withEvents(SENSOR, [reading(1)]).last?.unit, "°C"); // sealed with the reading, whatever the sensor declares
  assert.deepEqual(after.range, [0, 50]);
  assert.deepEqual(withEvents(after, [reading(1, "99"), reading(2, "99")]), after);
});

test("what a program logs is no reading and no bad news, whatever it says", () => {
  const { leaf, envelope } = reading(1, "99", "COMM_ERROR");
  assert.ok(isReading(envelope) && isBadNews(envelope));
  const { sealwire: _, ...forged } = envelope;
  assert.ok(!isReading(forged) && !isBadNews(forged));
  assert.equal(readingOf({ leaf, envelope: forged }), null);
});

test("the recent points stay bounded", () => {
  const many = Array.from({ length: 100 }, (_, leaf) => reading(leaf + 1, String(leaf)));
  const { recent } = withEvents(SENSOR, many);
  assert.equal(recent.length, RECENT_MAX);
  assert.equal(recent.at(-1)?.[1], 99);
});

test("the range's events set the mark and take it away", () => {
  const out = withEvents(SENSOR, [event(1, "OUT_OF_RANGE")]);
  assert.equal(out.out_of_range, true);
  assert.equal(withEvents(out, [event(2, "BACK_IN_RANGE")]).out_of_range, false);
});

test("a value that cannot be held against the range is shown as such until one can", () => {
  const shows = (sensor: SensorAnswer): boolean => render(Marks, { props: { sensor } }).body.includes("Range not judged");
  const not_judged = withEvents(SENSOR, [event(1, "RANGE_NOT_JUDGED")]);
  assert.ok(shows(not_judged) && needsAttention(not_judged));
  for (const judged of ["OUT_OF_RANGE", "BACK_IN_RANGE"]) {
    assert.ok(!shows(withEvents(not_judged, [event(2, judged)])), judged);
  }
  assert.ok(!shows(SENSOR));
  // RANGE_NOT_JUDGED says nothing about the earlier value, which was outside the range.
  assert.ok(withEvents(SENSOR, [event(1, "OUT_OF_RANGE"), event(2, "RANGE_NOT_JUDGED")]).out_of_range);
});

test("a pause and a first heartbeat that is awaited are shown, and neither needs attention", () => {
  const shown = (sensor: SensorAnswer): string => render(Marks, { props: { sensor } }).body;
  const [paused, expected] = [{ ...SENSOR, paused: true }, { ...SENSOR, state: "expected" as const }];
  assert.ok(shown(paused).includes("Paused") && shown(expected).includes("Expected"));
  assert.ok(!shown(SENSOR).includes("Paused") && !needsAttention(paused) && !needsAttention(expected));
});

test("an answer that is behind the feed does not take readings back", () => {
  const shown = withEvents(SENSOR, [reading(7, "20")]);
  const behind = { ...SENSOR, state: "lost" as const };
  assert.deepEqual(refetched(shown, behind), { ...behind, last: shown.last, recent: shown.recent });
  const ahead = withEvents(SENSOR, [reading(8, "21")]);
  assert.equal(refetched(shown, ahead), ahead);
});

test("what needs attention, and on which side of the range it is", () => {
  assert.equal(needsAttention(SENSOR), false);
  assert.equal(needsAttention({ ...SENSOR, state: "disconnected" }), true);
  assert.equal(needsAttention({ ...SENSOR, out_of_range: true }), true);
  assert.equal(needsAttention({ ...SENSOR, state: "retired" }), false);
  const order: SensorOrder = { order: "maintain", by: "ada", at: at(1), reason: "a new valve", from: at(2), until: at(4) };
  const maintained = { ...SENSOR, out_of_range: true, orders: [order] };
  assert.deepEqual([1_000, 2_000, 4_000].map((now) => needsAttention(maintained, now)), [true, false, true], "it ends by itself");
  assert.equal(needsAttention({ ...maintained, doubled: at(1) }, 2_000), true);
  assert.equal(needsAttention(withEvents(SENSOR, [reading(1, "x", "VALUE_ERROR")])), true);
  assert.equal(beyondRange(withEvents(SENSOR, [reading(1, "50.1")])), "above");
  assert.equal(beyondRange(withEvents(SENSOR, [reading(1, "-1")])), "below");
  assert.equal(beyondRange({ ...withEvents(SENSOR, [reading(1, "-1")]), unit: "K" }), null); // its range is in another unit now
  assert.equal(beyondRange(withEvents(SENSOR, [reading(1, "50")])), null); // the bounds belong to the range
  assert.equal(beyondRange(withEvents(SENSOR, [reading(1, "N/A", "COMM_ERROR")])), null);
});

test("a number is plotted only where the log has one", () => {
  for (const [value, status, number] of [
    ["23.50", "SUCCESS", 23.5],
    ["-1e3", "SUCCESS", -1000],
    ["", "SUCCESS", null],
    [" ", "SUCCESS", null],
    ["true", "SUCCESS", null],
    ["Infinity", "SUCCESS", null],
    ["12", "VALUE_ERROR", null],
  ] as const) {
    assert.equal(numberOf({ value, status }), number, `${status} ${JSON.stringify(value)}`);
  }
});

test("fetched and live readings join without repeats, of one sensor", () => {
  const live = readingsOf("a", [reading(3), event(4, "OUT_OF_RANGE"), reading(5)]);
  const fetched: Reading[] = [{ sensor: "a", leaf: 3, timestamp: at(3), status: "SUCCESS", value: "1" }];
  assert.deepEqual(
    joined(fetched, live).map(({ leaf }) => leaf),
    [3, 5],
  );
  assert.deepEqual(readingsOf("b", [reading(3)]), []);
  assert.deepEqual(seriesOf(live), { times_s: [3, 5], values: [1, 1], units: ["°C", "°C"] });
  // The clock was set back: points are sorted by time, without repeats.
  assert.deepEqual(seriesOf([...live].reverse()), seriesOf(live));
  assert.deepEqual(joined([...live].reverse(), live).length, 2);
});

test("a long span keeps its peaks, and its silence", () => {
  const bucket = (start: string, min: number | null, max: number | null) => ({ start, readings: 2, numbers: min === null ? 0 : 2, min, max, mean: min });
  const buckets = [bucket(at(0), 1, 9), bucket(at(4), null, null), bucket(at(12), 2, 3)];
  assert.deepEqual(seriesOfPlot({ kind: "buckets", width_ms: 4_000, buckets }), {
    times_s: [1, 3, 5, 7, 8, 13, 15],
    values: [1, 9, null, null, null, 2, 3],
    units: null,
  });
});

test("a live event matches a search as the gateway would match it", () => {
  const shown = reading(60).envelope;
  for (const [search, expected] of [
    [{}, true],
    [{ action: "SENSOR_READING", status: "SUCCESS" }, true],
    [{ action: "SENSOR" }, false], // whole
    [{ not_action: "SENSOR_READING" }, false],
    [{ from: at(60), to: at(61) }, true], // from inclusive
    [{ to: at(60) }, false], // to exclusive
  ] as const) {
    assert.equal(matches(search, shown), expected, JSON.stringify(search));
  }
});

test("a reading stands where the site can believe that it was taken", () => {
  const [sensor_time, site_time] = [at(1), at(2)];
  const taken = (fields: object) => {
    const { leaf, envelope } = reading(3);
    return readingOf({ leaf, envelope: { ...envelope, sealwire: { ...envelope.sealwire, ...fields } } });
  };
  const micros = (leaf: number) => at(leaf).replace("Z", "000Z");
  assert.equal(taken({ sensor_time, flags: "too_early" })?.timestamp, micros(3));
  assert.equal(taken({ sensor_time, flags: "historical" })?.timestamp, micros(1));
  assert.equal(taken({ sensor_time, site_time, flags: "historical site_clock" })?.timestamp, micros(2));
  assert.equal(taken({ flags: "clock_back" })?.flags, "clock_back");
  assert.equal(flagsInWords("clock_back constructor"), "the sensor's clock went back; constructor");
});
