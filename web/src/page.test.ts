import assert from "node:assert/strict";
import { test } from "node:test";
import { Batch } from "./batch.ts";
import { appendBounded, Rate } from "./bounded.ts";
import { formatAge, formatInterval, formatRange, formatTime, formatValue, inGroups } from "./format.ts";
import { clockInWords, clockNotices, lateNotices, sensorClockInWords, stretchedNotices } from "./late.ts";
import { eventsHref, fleetHref, parseRoute, sensorHref } from "./route.ts";
import { plainly } from "./said.ts";
import { sparkline } from "./sparkline.ts";

/** A batch of at most `limit`, and a function that runs its frame. */
function batch(limit: number) {
  const frames: (() => void)[] = [];
  const flushed: number[][] = [];
  let overflows = 0;
  const made = new Batch<number>(
    limit,
    (run) => frames.push(run),
    (items) => flushed.push(items),
    () => overflows++,
  );
  return { made, flushed, frames, frame: () => frames.splice(0).forEach((run) => run()), overflows: () => overflows };
}

test("what comes between two frames is handed over once", () => {
  const { made, flushed, frames, frame } = batch(10);
  for (const item of [1, 2, 3]) made.push(item);
  assert.equal(frames.length, 1);
  frame();
  made.push(4);
  frame();
  assert.deepEqual(flushed, [[1, 2, 3], [4]]);
});

test("too much for one frame is given up whole, and the next frame is well again", () => {
  const { made, flushed, frame, overflows } = batch(2);
  for (const item of [1, 2, 3]) made.push(item);
  frame();
  assert.deepEqual([flushed, overflows()], [[], 1]);
  made.push(4);
  frame();
  assert.deepEqual([flushed, overflows()], [[[4]], 1]);
});

test("bounded lists keep the newest", () => {
  const list = [1, 2];
  appendBounded(list, [3, 4], 3);
  assert.deepEqual(list, [2, 3, 4]);
  appendBounded(list, [5, 6, 7, 8], 3);
  assert.deepEqual(list, [6, 7, 8]);
});

test("a rate counts whole seconds of its window only", () => {
  const rate = new Rate(10_000);
  assert.equal(rate.per_second(0), null);
  for (let ms = 0; ms < 60_000; ms += 100) rate.add(1, ms);
  assert.equal(rate.per_second(60_000), 10);
  assert.equal(rate.per_second(65_000), 5); // five silent seconds
  assert.equal(rate.per_second(99_000), 0);
  rate.reset();
  assert.equal(rate.per_second(99_000), null);
});

test("a sparkline has a gap where there is no number", () => {
  assert.deepEqual(sparkline([], 100, 20), { path: "", end: null });
  assert.equal(sparkline([[0, 5]], 100, 20).path, "M3 10h0"); // a single value is a dot in the middle
  const { path, end } = sparkline(
    [
      [0, 0],
      [1, 10],
      [2, null],
      [3, 10],
      [4, null],
    ],
    106,
    26,
  );
  assert.equal(path, "M3 23L28 3M78 3h0");
  assert.deepEqual(end, { x: 78, y: 3 });
});

test("routes name their log, or mean the site's own", () => {
  const log = "a7".repeat(32);
  for (const [hash, route] of [
    ["", { log: null, is: "fleet" }],
    ["#/", { log: null, is: "fleet" }],
    ["#/log", { log: null, is: "log" }],
    ["#/sensor/a3b3", { log: null, is: "sensor", id: "a3b3" }],
    ["#/sensor/", { log: null, is: "unknown" }],
    ["#/sensor/%E0%A4%A", { log: null, is: "unknown" }], // not an encoding of anything
    ["#/nowhere", { log: null, is: "unknown" }],
    [`#/logs/${log}`, { log, is: "fleet" }],
    [`#/logs/${log}/events`, { log, is: "log" }],
    [`#/logs/${log}/sensors/a3b3`, { log, is: "sensor", id: "a3b3" }],
    [`#/logs/${log}/log`, { log, is: "unknown" }],
    [`#/logs/${log.toUpperCase()}`, { log: null, is: "unknown" }], // a log has one spelling
    ["#/logs/plant", { log: null, is: "unknown" }],
  ] as const) {
    assert.deepEqual(parseRoute(hash), route, hash);
  }
  for (const log_or_own of [null, log]) {
    assert.deepEqual(parseRoute(sensorHref(log_or_own, "a/b ü")), { log: log_or_own, is: "sensor", id: "a/b ü" });
    assert.deepEqual(parseRoute(fleetHref(log_or_own)), { log: log_or_own, is: "fleet" });
    assert.deepEqual(parseRoute(eventsHref(log_or_own)), { log: log_or_own, is: "log" });
  }
});

test("values and times", () => {
  assert.equal(formatValue("N/A"), "–");
  assert.equal(formatValue("23.50"), "23.50");
  assert.equal(formatRange([-1, 5]), "-1 to 5");
  assert.equal(formatInterval(10_000), "10 s");
  assert.equal(formatInterval(1_500), "1500 ms");
  assert.equal(formatAge(0, 59_400), "59 s");
  assert.equal(formatAge(0, 3_600_000), "1 h");
  assert.equal(formatAge(10, 0), "0 s"); // clocks disagree
  assert.equal(inGroups("0123456789abcdef01"), "01234567 89abcdef 01");
  const noon = new Date(2026, 10, 23, 12, 0, 1);
  assert.equal(formatTime(noon.getTime(), noon.getTime()), "12:00:01");
  assert.match(formatTime(noon.getTime(), noon.getTime() + 86_400_000), /23 Nov.*12:00:01/);
  assert.equal(formatTime("never"), plainly("never"));
});

test("only those who are late have a notice, and it says how late", () => {
  const follower = (name: string, late: boolean) => ({ name, lag_leaves: 34_000, lag_ms: 17_400, late });
  assert.deepEqual(lateNotices([follower("index", false), follower("checkpoint", false)]), []);
  const notices = lateNotices([follower("index", true), follower("pipeline", true), follower("other", true)]);
  assert.deepEqual(
    notices.map(({ title }) => title),
    ["The index is late", "Readings are judged late"],
  );
  assert.match(notices[1]?.detail ?? "", /34,000 leaves wait, the first for 17 s/);
});

test("sensors that are polled less often than they ask have a notice", () => {
  assert.deepEqual(stretchedNotices(null), []);
  assert.match(stretchedNotices(1_050)[0]?.detail ?? "", /more often than every 1,050 ms/);
});

test("a clock that cannot be right, or that nobody sets, has a notice", () => {
  const clock = { synchronised: true, offset_ms: -0.0123, source: "chronyc", since: "2026-11-29T12:00:00.000000Z", believed: true, steps: 0 };
  assert.deepEqual([clockNotices(null), clockNotices(clock), clockNotices({ ...clock, synchronised: null })], [[], [], []]);
  assert.match(clockNotices({ ...clock, believed: false })[0]?.title ?? "", /cannot be right/);
  assert.match(clockNotices({ ...clock, synchronised: false })[0]?.detail ?? "", /says .*chronyc/);
  assert.equal(clockInWords(clock), "synchronised, -0.012 ms off (chronyc)");
  assert.equal(clockInWords({ ...clock, synchronised: null, offset_ms: null, source: null, steps: 2 }), "not known to be synchronised; set 2 times since the start");
});

test("a sensor's clock is put into words", () => {
  assert.equal(sensorClockInWords({ answers: 9 }), "none");
  assert.equal(sensorClockInWords({ answers: 9, offset_ms: -4 }), "4 ms behind the site");
  assert.equal(sensorClockInWords({ answers: 9, offset_ms: 3_600_400 }), "3,600 s ahead of the site");
  assert.match(sensorClockInWords({ answers: 9, started_at: "2026-11-29T12:00:00Z" }), /^none; running since /);
});
