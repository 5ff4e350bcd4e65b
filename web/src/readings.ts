// The readings of one sensor as its view holds them: fetched, then grown by the feed. Oldest first, never more than the gateway gives at once.

import { READINGS_LIMIT_MAX, type PlotAnswer, type Reading, type Sealed } from "./api.ts";
import { numberOf, readingOf } from "./event.ts";

/** `readings` and those of `more` that come after them in the log. A clock that was set back puts an earlier leaf last. */
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

/** What a plot draws, in the order of time: null is a gap. `units` are those that were sealed with the values; null of sums, which are of readings with any. */
export type Series = { times_s: number[]; values: (number | null)[]; units: (string | undefined)[] | null };

/** A clock that was set back dates a later reading earlier. */
export function seriesOf(readings: readonly Omit<Reading, "sensor">[]): Series {
  const dated = readings.map((reading) => ({ ...reading, at_s: Date.parse(reading.timestamp) / 1000 })).filter(({ at_s }) => Number.isFinite(at_s));
  dated.sort((one, other) => one.at_s - other.at_s);
  return { times_s: dated.map(({ at_s }) => at_s), values: dated.map(numberOf), units: dated.map(({ unit }) => unit) };
}

/** Of each bucket the lowest and the highest value, so that no peak is lost; between buckets without a number the line breaks. */
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

/** The units of the values in a series, where it has them. */
export const unitsOf = ({ values, units }: Series): string[] => [...new Set((units ?? []).filter((_unit, at) => values[at] !== null).map((unit) => unit ?? "none"))];
