// The readings of one sensor as its view holds them: fetched, then grown by the feed. Oldest first, never more than the gateway gives at once.

import { READINGS_LIMIT_MAX, type PlotAnswer, type Reading, type Sealed } from "./api.ts";
import { numberOf, readingOf } from "./event.ts";

/** `readings` and those of `more` that come after them. */
export function joined(readings: readonly Reading[], more: readonly Reading[]): Reading[] {
  const last_leaf = readings.at(-1)?.leaf ?? -1;
  return [...readings, ...more.filter(({ leaf }) => leaf > last_leaf)].slice(-READINGS_LIMIT_MAX);
}

export function readingsOf(sensor: string, events: readonly Sealed[]): Reading[] {
  return events.flatMap((sealed) => {
    const reading = readingOf(sealed);
    return reading?.sensor === sensor ? [reading] : [];
  });
}

/** Seconds since 1970 and values, as uPlot takes them; null makes a gap. */
export type Series = [times: number[], values: (number | null)[]];

export function seriesOf(readings: readonly Omit<Reading, "sensor">[]): Series {
  return [readings.map(({ timestamp }) => Date.parse(timestamp) / 1000), readings.map(numberOf)];
}

/** Of each bucket the lowest and the highest value, so that no peak is lost; between buckets without a number the line breaks. */
export function seriesOfPlot(plot: PlotAnswer): Series {
  if (plot.kind === "readings") return seriesOf(plot.readings);
  const width_s = plot.width_ms / 1000;
  const times: number[] = [];
  const values: (number | null)[] = [];
  let end_s = Number.POSITIVE_INFINITY;
  for (const { start, min, max } of plot.buckets) {
    const start_s = Date.parse(start) / 1000;
    if (start_s > end_s) {
      times.push(end_s);
      values.push(null);
    }
    times.push(start_s + width_s / 4, start_s + (width_s * 3) / 4);
    values.push(min, max);
    end_s = start_s + width_s;
  }
  return [times, values];
}
