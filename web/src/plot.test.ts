import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf, LABEL_CHARS_MAX, position, ticksOf } from "./frame.ts";
import { layOut, type PlotView } from "./parts/plot.ts";
import type { Series } from "./readings.ts";
import { sparkline } from "./sparkline.ts";
import { timeTicksOf, zoomed } from "./timeline.ts";

// A time zone with daylight saving time.
process.env.TZ = "Europe/Berlin";

const ROUNDS = 3_000;
const SIZE = { width: 800, height: 300 };
/**
 * Space that a label needs, in pixels: most of a digit's width for each character, and a line's
 * height.
 */
const [CHAR_PX, LINE_PX] = [6, 16];
const VIEW: PlotView = { window_ms: 900_000, range: null, whole_range: false, unit: null, marks: [] };

/** Mulberry32: the same numbers in every run. */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const EDGES = [0, -0, 5e-324, -5e-324, 2 ** -1022, 1e-300, 0.1, 1, 21.4, -40, 1e14, 2 ** 53, 1e16, 1e100, 1e308, -1e308, Number.MAX_VALUE, -Number.MAX_VALUE];

/** Any finite number: all magnitudes equally, often an extreme, often a tiny step from `near`. */
function anyNumber(random: () => number, near: number): number {
  const kind = random();
  if (kind < 0.25) return EDGES[Math.floor(random() * EDGES.length)]!;
  if (kind < 0.5) return near;
  if (kind < 0.65) return bounded(near * (1 + (random() - 0.5) * 2 ** -Math.floor(random() * 53)));
  if (kind < 0.75) return Math.round(random() * 1000) / 10;
  const bytes = new DataView(new ArrayBuffer(8));
  for (let at = 0; at < 8; at++) bytes.setUint8(at, random() * 256);
  return bounded(bytes.getFloat64(0));
}

const bounded = (value: number): number => (Number.isFinite(value) ? value : 1);

function anyNumbers(random: () => number): number[] {
  const near = anyNumber(random, 1e16);
  return Array.from({ length: 1 + Math.floor(random() * 8) }, () => anyNumber(random, near));
}

test("any finite numbers have a frame that is finite, holds them, and uses its height for what differs", () => {
  const random = generator(1);
  for (let round = 0; round < ROUNDS; round++) {
    const numbers = anyNumbers(random);
    const frame = frameOf([null, NaN, Infinity, ...numbers], 0.12)!;
    const said = JSON.stringify({ numbers, frame });
    assert.ok(Number.isFinite(frame.low) && Number.isFinite(frame.high) && frame.low < frame.high, said);
    const places = numbers.map((number) => position(frame, number));
    assert.ok(places.every((place) => place >= 0 && place <= 1), `${said} ${places}`);
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const height = position(frame, high) - position(frame, low);
    const magnitude = Math.max(Math.abs(low), Math.abs(high));
    if (high - low <= magnitude * 1e-13) assert.ok(height < 0.01, `noise fills ${height} of the height: ${said}`);
    else if (high - low > magnitude * 1e-11 && high - low > 1e-299) assert.ok(height > 0.7, `${height} of the height: ${said}`);
  }
  assert.equal(frameOf([null, NaN], 0.12), null);
});

test("labels tell ticks apart, fit, and say the number where they stand", () => {
  const random = generator(2);
  for (let round = 0; round < ROUNDS; round++) {
    const frame = frameOf(anyNumbers(random), 0.12)!;
    const count_max = 5 + Math.floor(random() * 9);
    const { ticks, base } = ticksOf(frame, count_max);
    const said = JSON.stringify({ frame, ticks, base });
    assert.ok(ticks.length >= 2 && ticks.length <= count_max + 1, said);
    assert.equal(new Set(ticks.map(({ label }) => label)).size, ticks.length, said);
    assert.ok((base ?? "").length <= 22, said);
    const places = ticks.map(({ value }) => position(frame, value));
    places.forEach((place, at) => assert.ok(place >= 0 && place <= 1 && (at === 0 || place - places[at - 1]! > 0.3 / count_max), said));
    for (const { value, label } of ticks) {
      assert.ok(label.length <= LABEL_CHARS_MAX, said);
      const spoken = base === null ? Number(label) : Number(base) + Number(label);
      if (base === null) assert.equal(spoken, value, said);
      else assert.ok(Math.abs(position(frame, spoken) - position(frame, value)) < 0.001, said);
    }
  }
});

test("labels as people write them", () => {
  const labels = (...numbers: number[]) => {
    const { ticks, base } = ticksOf(frameOf(numbers, 0.12)!, 6);
    return [base, ...ticks.map(({ label }) => label)].join(" ");
  };
  assert.equal(labels(20, 24), " 20 21 22 23 24");
  assert.equal(labels(-0.5, 0.5), " -0.5 0.0 0.5");
  assert.equal(labels(1e14), " 9e13 9.5e13 1e14 1.05e14 1.1e14");
  assert.equal(labels(21.4, 21.400000000000002), " 19 20 21 22 23");
  assert.equal(labels(1e16, 1e16 + 2), " 9e15 9.5e15 1e16 1.05e16 1.1e16");
  assert.equal(labels(-1e308, 1e308), " -1e308 -5e307 0 5e307 1e308");
  assert.equal(labels(1_000_000_000.001, 1_000_000_000.005), "1.000000000001e9 +0.000 +0.001 +0.002 +0.003 +0.004");
});

test("any stretch of time has labels that tell its ticks apart", () => {
  const random = generator(3);
  for (let round = 0; round < ROUNDS; round++) {
    const long_s = 10 ** (-1.69 + random() * 11.6);
    const from_s = random() * 7e9;
    const count_max = 3 + Math.floor(random() * 12);
    const ticks = timeTicksOf([from_s, from_s + long_s], count_max, 1_795_910_000_000);
    const said = JSON.stringify({ from_s, long_s, count_max, ticks });
    assert.ok(ticks.length >= 1 && ticks.length <= count_max + 3, said);
    assert.equal(new Set(ticks.map(({ label }) => label)).size, ticks.length, said);
    ticks.forEach(({ at_s, label }, at) => {
      assert.ok(at_s >= from_s && at_s <= from_s + long_s && (at === 0 || at_s > ticks[at - 1]!.at_s), said);
      assert.ok(label.split("\n").every(({ length }) => length <= 12), said);
    });
  }
  // When daylight saving time ends, here on 25 October 2026, one hour occurs twice.
  const fall = Date.UTC(2026, 9, 24, 23) / 1000;
  assert.deepEqual(
    timeTicksOf([fall, fall + 4 * 3_600], 4, fall * 1000).map(({ label }) => label.replaceAll("\n", " ")),
    ["01:00 UTC+02:00", "02:00 UTC+02:00", "02:00 UTC+01:00", "03:00 UTC+01:00", "04:00 UTC+01:00"],
  );
  const day = Date.UTC(2026, 6, 1, 10) / 1000;
  assert.deepEqual(timeTicksOf([day, day + 60], 4, day * 1000).map(({ label }) => label), ["12:00:00", "12:00:15", "12:00:30", "12:00:45", "12:01:00"]);
  assert.deepEqual(timeTicksOf([day, day + 60], 4, 0)[0]!.label, "12:00:00\n1 Jul 2026"); // not today
  const [from_s, to_s] = zoomed(day, day);
  assert.ok(timeTicksOf([from_s, to_s], 8, 0).length >= 2);
});

test("whatever a sensor answered, its plot has finite places, and a point wherever there is no line", () => {
  const random = generator(4);
  for (let round = 0; round < ROUNDS; round++) {
    const numbers = anyNumbers(random);
    const values = Array.from({ length: Math.floor(random() * 30) }, () => (random() < 0.5 ? null : numbers[Math.floor(random() * numbers.length)]!));
    const times_s = values.map((_, at) => 1_795_910_000 + at * random()).sort((one, other) => one - other);
    const series: Series = { times_s, values, units: random() < 0.5 ? null : values.map(() => "m") };
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const view = { ...VIEW, whole_range: random() < 0.5, range: low < high ? ([low, high] as [number, number]) : null, unit: "m" };
    const zoom = random() < 0.3 ? ([1_795_910_000 + random(), 1_795_910_001 + random()] as [number, number]) : null;
    const size = { width: 290 + Math.floor(random() * 1000), height: 300 };
    const layout = layOut(series, view, zoom, 1_795_910_020_000, size);
    const said = JSON.stringify({ series, view, zoom, size, layout });
    const [, places] = layout.data;
    assert.ok(places.every((place) => place === null || Number.isFinite(place)), said);
    assert.ok([...layout.stretch, ...layout.x.map(({ at }) => at), ...layout.y.map(({ at }) => at)].every(Number.isFinite), said);
    assert.ok(layout.stretch[0] < layout.stretch[1] && layout.y.length >= 2 && layout.x.length >= 1, said);
    assert.ok((layout.band ?? []).every((edge) => edge >= 0 && edge <= 1), said);
    // Width beside the longest labels of the other axis and the margin on the right.
    const plot_width = size.width - (12 + 7 * LABEL_CHARS_MAX) - 42;
    const [from_s, to_s] = layout.stretch;
    layout.x.slice(1).forEach(({ at, label }, before) => {
      const apart = ((at - layout.x[before]!.at) / (to_s - from_s)) * plot_width;
      assert.ok(apart >= CHAR_PX * Math.max(...label.split("\n").map(({ length }) => length)), `${apart} px for ${label}: ${said}`);
    });
    layout.y.slice(1).forEach(({ at }, before) => assert.ok((at - layout.y[before]!.at) * (size.height - 80) >= LINE_PX, said));
    const drawn = new Set(layout.lone);
    values.forEach((value, at) => {
      const joined = (values[at - 1] ?? null) !== null || (values[at + 1] ?? null) !== null;
      assert.equal(drawn.has(at), value !== null && !joined, said);
    });
    const { path } = sparkline(values.map((value, at) => [at, value]), 104, 28);
    assert.doesNotMatch(path, /NaN|Infinity|e/, said);
    assert.equal(path.match(/M/g)?.length ?? 0, values.filter((value, at) => value !== null && (values[at - 1] ?? null) === null).length, said);
    assert.equal(path.match(/h0/g)?.length ?? 0, drawn.size, said);
  }
});

test("a range is drawn only beside values of its unit", () => {
  const series = (unit: string | undefined): Series => ({ times_s: [1_795_910_000], values: [5], units: [unit] });
  const band = (unit: string | undefined) => layOut(series(unit), { ...VIEW, range: [0, 10], unit: "m" }, null, 1_795_910_000_000, SIZE).band;
  assert.ok(band("m") !== null);
  assert.equal(band("km"), null);
  assert.equal(band(undefined), null);
});
