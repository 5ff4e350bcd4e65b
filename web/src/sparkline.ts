// The path of a sparkline: straight lines between neighbours, a gap where there is no number.

import type { Point } from "./api.ts";

export type Sparkline = { path: string; end: { x: number; y: number } | null };

/** Room for the stroke and the end's dot, in pixels. */
const MARGIN = 3;

export function sparkline(points: readonly Point[], width: number, height: number): Sparkline {
  const values = points.flatMap(([, value]) => (value === null ? [] : [value]));
  if (values.length === 0) return { path: "", end: null };
  const low = Math.min(...values);
  const span = Math.max(...values) - low;
  // By position, not by time: at this size an even step is easier to read than an honest but empty stretch.
  const step = (width - 2 * MARGIN) / Math.max(1, points.length - 1);
  const x = (index: number): number => round(MARGIN + index * step);
  // A flat line runs through the middle rather than along the bottom.
  const y = (value: number): number => round(span === 0 ? height / 2 : height - MARGIN - ((value - low) / span) * (height - 2 * MARGIN));

  let path = "";
  let end: Sparkline["end"] = null;
  points.forEach(([, value], index) => {
    if (value === null) return;
    const joined = index > 0 && points[index - 1]?.[1] !== null;
    path += `${joined ? "L" : "M"}${x(index)} ${y(value)}`;
    end = { x: x(index), y: y(value) };
  });
  return { path, end };
}

const round = (pixels: number): number => Math.round(pixels * 10) / 10;
