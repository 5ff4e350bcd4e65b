// What the fleet view knows of a sensor, and how a live event changes it. No DOM, no clock.

import { ownFields, type Point, type SensorAnswer, type Sealed } from "./api.ts";
import { isFailure, numberOf, readingOf } from "./event.ts";

/** As many as `/api/sensors` gives, so that a row looks the same before and after a refetch. */
export const RECENT_MAX = 30;

export type FleetFilter = { text: string; location: string; attention: boolean };

/** `sensor` after `events`, oldest first, all of them its own. Events it already knows change nothing. */
export function withEvents(sensor: SensorAnswer, events: readonly Sealed[]): SensorAnswer {
  let { last, recent, range, out_of_range, not_judged } = sensor;
  const points: Point[] = [];
  for (const sealed of events) {
    const { action } = sealed.envelope.event;
    if (action === "OUT_OF_RANGE") [out_of_range, not_judged] = [true, false];
    if (action === "BACK_IN_RANGE") [out_of_range, not_judged] = [false, false];
    if (action === "RANGE_NOT_JUDGED") not_judged = true;
    const reading = readingOf(sealed);
    if (reading === null || (last !== null && reading.leaf <= last.leaf)) continue;
    last = reading;
    range = rangeOf(ownFields(sealed.envelope)?.range) ?? range;
    points.push([Date.parse(reading.timestamp), numberOf(reading)]);
  }
  if (points.length > 0) recent = [...recent, ...points].slice(-RECENT_MAX);
  return { ...sensor, last, recent, range, out_of_range, not_judged };
}

/** `fetched`, except for readings that the feed has brought since: the index that answers may be behind the log. */
export function refetched(shown: SensorAnswer, fetched: SensorAnswer): SensorAnswer {
  const behind = shown.last !== null && (fetched.last === null || fetched.last.leaf < shown.last.leaf);
  return behind ? { ...fetched, last: shown.last, recent: shown.recent } : fetched;
}

export const needsAttention = ({ state, out_of_range, not_judged, last }: SensorAnswer): boolean =>
  state !== "online" || out_of_range || not_judged || isFailure(last?.status);

/** The two bounds of a range as it is sealed, `0..50`; null where there is none. */
export function rangeOf(text: string | undefined): [number, number] | null {
  const [low, high] = (text ?? "").split("..").map(Number);
  return low !== undefined && high !== undefined && low < high ? [low, high] : null;
}

/** Where the last value lies outside the range; null where it does not, or nobody can tell: a range is in the unit that its sensor declares. */
export function beyondRange({ last, range, unit }: SensorAnswer): "above" | "below" | null {
  const value = last && numberOf(last);
  if (value === null || range === null || (last?.unit ?? null) !== unit) return null;
  if (value > range[1]) return "above";
  return value < range[0] ? "below" : null;
}

/** What the events of a sensor with this name and place have as their `source`. */
export const sourceOf = ({ location, alias }: SensorAnswer): string => (location === "" ? alias : `${location}.${alias}`);

export function passes({ text, location, attention }: FleetFilter, sensor: SensorAnswer): boolean {
  if (attention && !needsAttention(sensor)) return false;
  if (location !== "" && sensor.location !== location) return false;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const haystack = `${sensor.alias} ${sensor.location} ${sensor.quantity ?? ""} ${sensor.id}`.toLowerCase();
  return words.every((word) => haystack.includes(word));
}

/** In the order in which the locations first appear; `/api/sensors` has sorted them. */
export function groupByLocation<Item extends { shown: SensorAnswer }>(sensors: readonly Item[]): [location: string, sensors: Item[]][] {
  const groups = new Map<string, Item[]>();
  for (const sensor of sensors) {
    const group = groups.get(sensor.shown.location);
    if (group) group.push(sensor);
    else groups.set(sensor.shown.location, [sensor]);
  }
  return [...groups];
}
