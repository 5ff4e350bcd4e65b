// How the plot looks: uPlot's options, from the page's own colours.

import uPlot from "uplot";

export type PlotColors = { line: string; grid: string; text: string; limit: string; band: string };
export type PlotView = { window_ms: number; range: [number, number] | null; whole_range: boolean; unit: string | null };

/** Room above and below the line, as a part of its height. */
const PADDING = 0.12;
/** However few readings there are. */
const SPAN_MIN_S = 60;

export type Pointed = { time_ms: number; value: number | null };

/** `view` and `now_ms` are asked at every redraw, so that the plot need not be made anew when they change. */
export type PlotAsks = { view: () => PlotView; now_ms: () => number; pointed: (pointed: Pointed | null) => void };

export function plotOptions(size: { width: number; height: number }, colors: PlotColors, asks: PlotAsks): uPlot.Options {
  const { view, now_ms, pointed } = asks;
  const font = "12px system-ui, sans-serif";
  const axis = { font, stroke: colors.text, grid: { stroke: colors.grid, width: 1 }, ticks: { show: false } };
  return {
    ...size,
    padding: [10, 24, 0, 0],
    cursor: { y: false, points: { size: 8 } },
    legend: { show: false },
    scales: {
      x: { range: (plot, low, high) => (zooms.has(plot) ? [low, high] : times(plot.data[0], view().window_ms, now_ms())) },
      y: { range: (_plot, low, high) => heights(low, high, view()) },
    },
    axes: [{ ...axis, size: 30, space: 64, values: (_plot, seconds, _axis, _space, step) => seconds.map((at) => clockTime(at, step)) }, { ...axis, size: 48 }],
    series: [{}, { stroke: colors.line, width: 1.75, points: { size: 4, fill: colors.line } }],
    hooks: {
      drawClear: [(plot) => drawRange(plot, colors, view().range)],
      setCursor: [({ data, cursor: { idx } }) => pointed(idx == null ? null : { time_ms: data[0][idx]! * 1000, value: data[1]?.[idx] ?? null })],
    },
  };
}

/** uPlot redraws within the chosen span after a drag; a double click ends it. */
const zooms = new WeakSet<uPlot>();

export function trackZoom(plot: uPlot): void {
  plot.over.addEventListener("mouseup", () => plot.select.width > 0 && zooms.add(plot), true);
  plot.over.addEventListener("dblclick", () => zooms.delete(plot), true);
}

/** Up to now, and as far back as asked; a sensor that is new starts at its first reading rather than with an empty plot. */
function times(seconds: ArrayLike<number>, window_ms: number, now_ms: number): [number, number] {
  const last = seconds[seconds.length - 1] ?? 0;
  const to = Math.max(now_ms / 1000, last);
  const first = Math.min(seconds[0] ?? to, to - SPAN_MIN_S);
  return [Math.max(to - window_ms / 1000, first), to];
}

function clockTime(seconds: number, step_seconds: number): string {
  const time = new Date(seconds * 1000).toLocaleTimeString("en-GB");
  return step_seconds < 60 ? time : time.slice(0, 5);
}

function heights(low: number | null, high: number | null, { range, whole_range }: PlotView): [number, number] {
  if (whole_range && range) {
    low = Math.min(low ?? range[0], range[0]);
    high = Math.max(high ?? range[1], range[1]);
  }
  if (low === null || high === null) return range ?? [0, 1];
  const room = (high - low || Math.abs(high) || 1) * PADDING;
  return [low - room, high + room];
}

/** The range as a band: what lies outside of it is outside by sight. */
function drawRange(plot: uPlot, colors: PlotColors, range: [number, number] | null): void {
  if (range === null) return;
  const { ctx, bbox } = plot;
  const inside = (y: number): number => Math.min(Math.max(y, bbox.top), bbox.top + bbox.height);
  const low = inside(plot.valToPos(range[0], "y", true));
  const high = inside(plot.valToPos(range[1], "y", true));
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
