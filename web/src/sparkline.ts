// The path of a sparkline: straight lines between neighbours, a dot for a lone value, a gap where
// there is no number.

import type { Point } from "./api.ts";
import { frameOf, position } from "./frame.ts";

export type Sparkline = { path: string; end: { x: number; y: number } | null };

/** Room for the stroke and the dot at the end, in pixels. */
const MARGIN = 3;

export function sparkline(points: readonly Point[], width: number, height: number): Sparkline {
  const frame = frameOf(points.map(([, value]) => value), 0);
  if (frame === null) return { path: "", end: null };
  // By index, not by time: at this size, even steps are easier to read than an accurate but empty
  // stretch.
  const step = (width - 2 * MARGIN) / Math.max(1, points.length - 1);
  const x = (index: number): number => round(MARGIN + index * step);
  const y = (value: number): number => round(height - MARGIN - position(frame, value) * (height - 2 * MARGIN));
  const drawn = (index: number): boolean => Number.isFinite(points[index]?.[1]);

  let path = "";
  let end: Sparkline["end"] = null;
  points.forEach(([, value], index) => {
    if (value === null || !drawn(index)) return;
    path += `${drawn(index - 1) ? "L" : "M"}${x(index)} ${y(value)}`;
    // A line of zero length, whose round caps make a dot.
    if (!drawn(index - 1) && !drawn(index + 1)) path += "h0";
    end = { x: x(index), y: y(value) };
  });
  return { path, end };
}

const round = (pixels: number): number => Math.round(pixels * 10) / 10;
