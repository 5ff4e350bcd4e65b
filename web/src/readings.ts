// The readings of one sensor in its view: fetched, then extended by the feed. Oldest first, never
// more than one answer of the gateway holds.

import { READINGS_LIMIT_MAX, type PlotAnswer, type Reading, type Sealed } from "./api.ts";
import { numberOf, readingOf } from "./event.ts";

/**
 * `readings`, and those of `more` that come after them in the log. If the clock was set back, the
 * last reading need not have the highest leaf.
 */
export function joined(readings: readonly Reading[], more: readonly Reading[]): Reading[] {
  const last_leaf = readings.reduce((last, { leaf }) => Math.max(last, leaf), -1);
  return [...readings, ...more.filter(({ leaf }) => leaf > last_leaf)].slice(-READINGS_LIMIT_MAX);
}

export function readingsOf(sensor: string, events: readonly Sealed[]): Reading[] {
  return events.flatMap((sealed) => {
    const reading = readingOf(sealed);
    return reading?.sensor === sensor ? [reading] : [];
  });
}

/**
 * The points of a plot, sorted by time; null is a gap. `units` are those sealed with the values. It
 * is null for buckets, which summarise readings of any unit.
 */
export type Series = { times_s: number[]; values: (number | null)[]; units: (string | undefined)[] | null };

/** Sorts by time: after the clock was set back, a later reading has an earlier time. */
export function seriesOf(readings: readonly Omit<Reading, "sensor">[]): Series {
  const dated = readings.map((reading) => ({ ...reading, at_s: Date.parse(reading.timestamp) / 1000 })).filter(({ at_s }) => Number.isFinite(at_s));
  dated.sort((one, other) => one.at_s - other.at_s);
  return { times_s: dated.map(({ at_s }) => at_s), values: dated.map(numberOf), units: dated.map(({ unit }) => unit) };
}

/**
 * The lowest and the highest value of each bucket, so that no peak is lost. The line breaks at
 * buckets without a number.
 */
export function seriesOfPlot(plot: PlotAnswer): Series {
  if (plot.kind === "readings") return seriesOf(plot.readings);
  const width_s = plot.width_ms / 1000;
  const times_s: number[] = [];
  const values: (number | null)[] = [];
  let end_s = Number.POSITIVE_INFINITY;
  for (const { start, min, max } of plot.buckets) {
    const start_s = Date.parse(start) / 1000;
    if (start_s > end_s) {
      times_s.push(end_s);
      values.push(null);
    }
    times_s.push(start_s + width_s / 4, start_s + (width_s * 3) / 4);
    values.push(min, max);
    end_s = start_s + width_s;
  }
  return { times_s, values, units: null };
}

/** The distinct units of the values in a series, if it has units. */
export const unitsOf = ({ values, units }: Series): string[] => [...new Set((units ?? []).filter((_unit, at) => values[at] !== null).map((unit) => unit ?? "none"))];
