// The layout of a plot, and uPlot's options for drawing it.
//
// uPlot gets positions between 0 and 1 and the page's own ticks, never the values. Its range
// arithmetic suits numbers of ordinary size; with others it draws nothing or does not terminate.

import type uPlot from "uplot";
import { frameOf, position, ticksOf, type Frame } from "../frame.ts";
import type { PlotMark } from "../marks.ts";
import type { Series } from "../readings.ts";
import { stretchOf, timeTicksOf, zoomed, type Stretch } from "../timeline.ts";

export type PlotColors = { line: string; grid: string; text: string; limit: string; band: string };
export type PlotView = { window_ms: number; range: [number, number] | null; whole_range: boolean; unit: string | null; marks: readonly PlotMark[] };
export type Size = { width: number; height: number };

/** Margin above and below the line, as a fraction of its height. */
const ROOM = 0.12;
const TICK_HEIGHT_PX = 45;
const Y_TICKS_MIN = 5;
/** Width of `12:00:00.000`. */
const TICK_WIDTH_PX = 84;
/** With fewer ticks there might be none. A plot too narrow for three fits no screen. */
const X_TICKS_MIN = 3;
const CHAR_WIDTH_PX = 7;
const Y_AXIS_MIN_PX = 48;
/** Half of the last label extends beyond the plot. */
const RIGHT_PX = TICK_WIDTH_PX / 2;
const LINE_HEIGHT_PX = 16;
/** Width of the name of a mark. */
const MARK_NAME_PX = 72;
/** uPlot requires a step and accepts this one for any span; the page sets the ticks. */
const ANY_STEP = 1e9;
/** Position of values far outside: beyond the edge, a line only needs the right direction. */
const BEYOND = 20;

export type Layout = {
  stretch: Stretch;
  /** Data for uPlot; the positions correspond to the values of the series. */
  data: [times_s: number[], places: (number | null)[]];
  /** Points that no line connects to another. They are drawn as points, however many there are. */
  lone: number[];
  x: { at: number; label: string }[];
  y: { at: number; label: string }[];
  /** The number to which labels are added, if whole labels would be too long. */
  base: string | null;
  /** Lower and upper edge of the range, if the sensor declares one in the unit of the values. */
  band: [number, number] | null;
  /** The marks within the stretch. */
  marks: readonly PlotMark[];
};

/**
 * Lays a plot out. `zoom` is the span chosen by dragging, or null for the whole span of the view.
 */
export function layOut(series: Series, view: PlotView, zoom: Stretch | null, now_ms: number, { width, height }: Size): Layout {
  const { times_s, values, units } = series;
  const stretch = zoom === null ? stretchOf(times_s, view.window_ms, now_ms) : zoomed(...zoom);
  const seen = seenIn(series, stretch);
  const range = units === null || units.every((unit, at) => values[at] === null || (unit ?? null) === view.unit) ? view.range : null;
  const frame = frameOf(view.whole_range && range !== null ? [...seen, ...range] : seen, ROOM) ?? (range && frameOf(range, ROOM)) ?? { low: 0, high: 1 };
  const { ticks, base } = ticksOf(frame, Math.max(Y_TICKS_MIN, Math.floor(height / TICK_HEIGHT_PX)));
  const plot_width = width - yAxisWidth(ticks) - RIGHT_PX;
  const times = timeTicksOf(stretch, Math.max(X_TICKS_MIN, Math.floor(plot_width / TICK_WIDTH_PX)), now_ms);
  return {
    stretch,
    // uPlot gives its axes no range if there is no data at all.
    data: times_s.length === 0 ? [[...stretch], [null, null]] : [times_s, values.map((value) => placeOf(frame, value))],
    lone: loneOf(values),
    x: times.map(({ at_s, label }) => ({ at: at_s, label })),
    y: ticks.map(({ value, label }) => ({ at: position(frame, value), label })),
    base,
    marks: view.marks.filter(({ at_s }) => at_s >= stretch[0] && at_s <= stretch[1]),
    band: range && [bounded(position(frame, range[0]), 0, 1), bounded(position(frame, range[1]), 0, 1)],
  };
}

/**
 * The values within the stretch. If there are none, the values at both ends of the line through it.
 */
function seenIn({ times_s, values }: Series, [from_s, to_s]: Stretch): (number | null)[] {
  const within = values.filter((_value, at) => times_s[at]! >= from_s && times_s[at]! <= to_s);
  if (within.some((value) => value !== null)) return within;
  const after = times_s.findIndex((at_s) => at_s > to_s);
  return after < 0 ? [] : values.slice(Math.max(0, after - within.length - 1), after + 1);
}

const yAxisWidth = (labels: readonly { label: string }[]): number => Math.max(Y_AXIS_MIN_PX, 12 + CHAR_WIDTH_PX * Math.max(0, ...labels.map(({ label }) => label.length)));

const bounded = (at: number, low: number, high: number): number => Math.min(Math.max(at, low), high);

const placeOf = (frame: Frame, value: number | null): number | null =>
  value === null || !Number.isFinite(value) ? null : bounded(position(frame, value), -BEYOND, 1 + BEYOND);

function loneOf(values: readonly (number | null)[]): number[] {
  return values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));
}

export type PlotEvents = { pointed: (at: number | null) => void; zoomed: (stretch: Stretch | null) => void };

/** `layout` is called at every redraw, so a change of layout does not require a new plot. */
export function plotOptions(size: Size, colors: PlotColors, layout: () => Layout, events: PlotEvents): uPlot.Options {
  const font = "12px system-ui, sans-serif";
  const axis = { font, stroke: colors.text, grid: { stroke: colors.grid, width: 1 }, ticks: { show: false }, incrs: [ANY_STEP] };
  const labels = (of: "x" | "y") => ({ splits: () => layout()[of].map(({ at }) => at), values: () => layout()[of].map(({ label }) => label) });
  const lines = (text: string): number => text.split("\n").length;
  return {
    ...size,
    padding: [10, RIGHT_PX, 0, 0],
    cursor: { y: false, points: { size: 8 }, drag: { x: true, y: false, setScale: false } },
    legend: { show: false },
    scales: { x: { time: false, range: () => layout().stretch }, y: { range: () => [0, 1] } },
    axes: [
      { ...axis, ...labels("x"), size: () => 14 + LINE_HEIGHT_PX * Math.max(1, ...layout().x.map(({ label }) => lines(label))) },
      { ...axis, ...labels("y"), size: () => yAxisWidth(layout().y) },
    ],
    series: [
      {},
      {
        stroke: colors.line,
        width: 1.75,
        points: { size: 4, fill: colors.line, filter: (_plot, _series, all) => (all ? null : layout().lone) },
        gaps: (plot, _series, first, last, gaps) => [...aroundLone(plot, layout(), first), ...gaps, ...aroundLone(plot, layout(), last)],
      },
    ],
    hooks: {
      drawClear: [(plot) => drawRange(plot, colors, layout().band)],
      draw: [(plot) => drawMarks(plot, colors, layout().marks)],
      setCursor: [({ cursor: { idx } }) => events.pointed(idx ?? null)],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width === 0) return;
          events.zoomed([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      ready: [(plot) => plot.over.addEventListener("dblclick", () => events.zoomed(null), true)],
    },
  };
}

/**
 * uPlot draws its line through gaps and then cuts them out. At a first or last point without a
 * neighbour, a piece of the line would remain.
 */
function aroundLone(plot: uPlot, { lone, data }: Layout, at: number): uPlot.Series.Gap[] {
  if (!lone.includes(at)) return [];
  const x = plot.valToPos(data[0][at]!, "x", true);
  const wide = 2 * devicePixelRatio;
  return [[x - wide, x + wide]];
}

/** Draws the range as a band, so that values outside it are visible as such. */
function drawRange(plot: uPlot, colors: PlotColors, band: [number, number] | null): void {
  if (band === null) return;
  const { ctx, bbox } = plot;
  const [low, high] = band.map((at) => plot.valToPos(at, "y", true)) as [number, number];
  ctx.save();
  ctx.fillStyle = colors.band;
  ctx.fillRect(bbox.left, high, bbox.width, low - high);
  ctx.strokeStyle = colors.limit;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const y of [low, high]) {
    if (y <= bbox.top || y >= bbox.top + bbox.height) continue;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

/** Draws a line for each mark, with its name beside it where there is room. */
function drawMarks(plot: uPlot, colors: PlotColors, marks: readonly PlotMark[]): void {
  const { ctx, bbox } = plot;
  const room = MARK_NAME_PX * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colors.text;
  ctx.fillStyle = colors.text;
  ctx.lineWidth = devicePixelRatio;
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  let free = -Infinity;
  for (const { at_s, name } of marks) {
    const x = Math.round(plot.valToPos(at_s, "x", true));
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    // To the left of its line, if it would reach beyond the plot.
    const is_left = x + room > bbox.left + bbox.width;
    const begin = is_left ? x - room : x;
    if (begin < free) continue;
    free = begin + room;
    ctx.textAlign = is_left ? "right" : "left";
    ctx.fillText(name, is_left ? x - 4 * devicePixelRatio : x + 4 * devicePixelRatio, bbox.top);
  }
  ctx.restore();
}
