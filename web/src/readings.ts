// The readings of one sensor as its view holds them: fetched, then grown by the feed. Oldest first, never more than the gateway gives at once.

import { ownFields, READINGS_LIMIT_MAX, type Reading, type Sealed } from "./api.ts";
import { numberOf, readingOf } from "./event.ts";

/** `readings` and those of `more` that come after them. */
export function joined(readings: readonly Reading[], more: readonly Reading[]): Reading[] {
  const last_leaf = readings.at(-1)?.leaf ?? -1;
  return [...readings, ...more.filter(({ leaf }) => leaf > last_leaf)].slice(-READINGS_LIMIT_MAX);
}

export function readingsOf(sensor: string, events: readonly Sealed[]): Reading[] {
  return events.flatMap((sealed) => {
    const reading = ownFields(sealed.envelope)?.sensor === sensor ? readingOf(sealed) : null;
    return reading === null ? [] : [reading];
  });
}

/** Seconds since 1970 and values, as uPlot takes them; null makes a gap. */
export type Series = [times: number[], values: (number | null)[]];

export function seriesOf(readings: readonly Reading[]): Series {
  return [readings.map(({ timestamp }) => Date.parse(timestamp) / 1000), readings.map(numberOf)];
}
