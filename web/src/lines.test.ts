import assert from "node:assert/strict";
import { test } from "node:test";
import { Lines } from "./lines.ts";

// Boiler has sensors 0 to 4, Hall 5, and Yard 6 to 11; two stand beside each other.
const GROUPS = [
  { location: "Boiler", found: 5 },
  { location: "Cellar", found: 0 },
  { location: "Hall", found: 1 },
  { location: "Yard", found: 6 },
];
const METRICS = { columns: 2, line_px: 60, heading_px: 40, gap_px: 10 };
const lines = new Lines(GROUPS, METRICS);

test("groups lie below each other, and every sensor has its place", () => {
  assert.deepEqual(
    lines.groups.map(({ location, first, count, top_px, height_px }) => [location, first, count, top_px, height_px]),
    [
      ["Boiler", 0, 5, 0, 220],
      ["Hall", 5, 1, 230, 100],
      ["Yard", 6, 6, 340, 220],
    ],
  );
  assert.deepEqual([lines.count, lines.height_px], [12, 570]);
  assert.deepEqual([0, 1, 4, 5, 6, 11].map((index) => lines.top_px(index)), [40, 40, 160, 270, 380, 500]);
  assert.deepEqual([new Lines([], METRICS).between(0, 100), new Lines([], METRICS).height_px], [[], 0]);
});

test("only what lies between two heights is drawn, and what has the focus", () => {
  const between = (from_px: number, to_px: number, kept: number | null = null) => lines.between(from_px, to_px, kept).map(({ group, rows }) => [group.location, rows.join()]);
  assert.deepEqual(between(-500, 0), []);
  assert.deepEqual(between(0, 41), [["Boiler", "0,1"]]);
  assert.deepEqual(between(100, 300), [["Boiler", "2,3,4"], ["Hall", "5"]]);
  assert.deepEqual(between(225, 235), [["Hall", ""]]);
  assert.deepEqual(between(0, Infinity), [["Boiler", "0,1,2,3,4"], ["Hall", "5"], ["Yard", "6,7,8,9,10,11"]]);
  assert.deepEqual(between(100, 150, 0), [["Boiler", "0,2,3"]]);
  assert.deepEqual(between(500, 600, 5), [["Hall", "5"], ["Yard", "10,11"]]);
  assert.deepEqual(between(500, 600, 11), [["Yard", "10,11"]]);
  assert.deepEqual(between(500, 600, 12), [["Yard", "10,11"]]);
});

test("between covers exactly what a person would see, wherever they scroll", () => {
  for (let from_px = -50; from_px < 600; from_px += 7) {
    const to_px = from_px + 100;
    const seen = Array.from({ length: lines.count }, (_, index) => index).filter((index) => lines.top_px(index) < to_px && lines.top_px(index) + 60 > from_px);
    assert.deepEqual(lines.between(from_px, to_px).flatMap(({ rows }) => rows), seen, `from ${from_px}`);
  }
});

test("keys lead to the neighbours, over headings, and never out of the list", () => {
  for (const [key, index, to] of [
    ["ArrowDown", 0, 2],
    ["ArrowDown", 3, 4], // the last line is shorter
    ["ArrowDown", 4, 5],
    ["ArrowDown", 5, 6],
    ["ArrowDown", 11, 11],
    ["ArrowUp", 7, 5], // there is no second column
    ["ArrowUp", 5, 4],
    ["ArrowUp", 1, 1],
    ["ArrowRight", 4, 5],
    ["ArrowRight", 11, 11],
    ["ArrowLeft", 5, 4],
    ["ArrowLeft", 0, 0],
    ["Home", 7, 0],
    ["End", 7, 11],
    ["PageDown", 1, 4], // 200 px further
    ["PageDown", 10, 10],
    ["PageUp", 11, 7],
    ["PageUp", 2, 0],
    ["Enter", 2, null],
  ] as const) {
    assert.equal(lines.after(key, index, 200), to, `${key} at ${index}`);
  }
  // A line that is higher than the screen can still be left.
  assert.equal(lines.after("PageDown", 0, 10), 2);
});
