// The fleet view's state of a sensor, and how live events change it. Uses no DOM.

import { ownFields, type ChannelAnswer, type Point, type Reading, type SensorAnswer, type SensorOrder, type Sealed } from "./api.ts";
import { isFailure, numberOf, readingOf } from "./event.ts";

/** As many as `/api/sensors` returns, so that a row looks the same before and after a fetch. */
export const RECENT_MAX = 30;

/** How a value stands to its range after an event. */
const STANDINGS: Readonly<Record<string, ChannelAnswer["standing"]>> = { OUT_OF_RANGE: "outside", BACK_IN_RANGE: "inside", RANGE_NOT_JUDGED: "not_judged" };

export type FleetFilter = { text: string; location: string; attention: boolean };

/**
 * `sensor` after `events`, oldest first, all of this sensor. Events already applied change nothing.
 */
export function withEvents(sensor: SensorAnswer, events: readonly Sealed[]): SensorAnswer {
  let { last, recent, range, out_of_range, not_judged, channels } = sensor;
  const points: Point[] = [];
  for (const sealed of events) {
    const { action } = sealed.envelope.event;
    const standing = STANDINGS[action ?? ""];
    const of_channel = ownFields(sealed.envelope)?.channel;
    if (standing !== undefined && of_channel !== undefined) {
      channels = channels?.map((channel) => (channel.name === of_channel ? { ...channel, standing } : channel));
      out_of_range = standing === "outside" || (channels ?? []).some((channel) => channel.standing === "outside");
      not_judged = standing === "not_judged" || (channels ?? []).some((channel) => channel.standing === "not_judged");
    } else if (standing === "not_judged") not_judged = true;
    else if (standing !== undefined) [out_of_range, not_judged] = [standing === "outside", false];
    const reading = readingOf(sealed);
    if (reading === null || (last !== null && reading.leaf <= last.leaf)) continue;
    last = reading;
    channels = channels?.map((channel) => withReading(channel, reading));
    range = rangeOf(ownFields(sealed.envelope)?.range) ?? range;
    points.push([Date.parse(reading.timestamp), numberOf(reading)]);
  }
  if (points.length > 0) recent = [...recent, ...points].slice(-RECENT_MAX);
  return { ...sensor, last, recent, range, out_of_range, not_judged, ...(channels && { channels }) };
}

/** A channel after a reading, which need not have a value of it. */
function withReading(channel: ChannelAnswer, { channels, ...reading }: Reading): ChannelAnswer {
  const measured = channels !== undefined && Object.hasOwn(channels, channel.name) ? channels[channel.name] : undefined;
  return measured === undefined ? channel : { ...channel, last: { ...reading, ...measured } };
}

/**
 * `fetched`, but with readings that arrived by the feed since: the index may lag behind the log.
 */
export function refetched(shown: SensorAnswer, fetched: SensorAnswer): SensorAnswer {
  const behind = shown.last !== null && (fetched.last === null || fetched.last.leaf < shown.last.leaf);
  return behind ? { ...fetched, last: shown.last, recent: shown.recent, ...(shown.channels && { channels: shown.channels }) } : fetched;
}

/** The maintenance of a sensor at a time in milliseconds. */
export const maintenanceOf = ({ orders }: SensorAnswer, now: number): SensorOrder | undefined =>
  orders.find(({ order, from = "", until = "" }) => order === "maintain" && Date.parse(from) <= now && now < Date.parse(until));

/** Whether a person should look at the sensor. The rules are the site's. */
export function needsAttention(sensor: SensorAnswer, now = Date.now()): boolean {
  const { state, out_of_range, not_judged, last, doubled } = sensor;
  if (doubled !== null) return true;
  if (state === "retired" || maintenanceOf(sensor, now) !== undefined) return false;
  return (state !== "online" && state !== "expected") || out_of_range || not_judged || isFailure(last?.status);
}

/** An order for people. */
export function orderName({ order, from, until, alias, location, device, mac, gain, offset, channel, poll_interval, answer_timeout }: SensorOrder): string {
  switch (order) {
    case "retire":
      return "Retired";
    case "maintain":
      return `In maintenance from ${from} until ${until}`;
    case "rename":
      return `Renamed to ${alias}`;
    case "move":
      return `Moved to ${location}`;
    case "replace":
      return device == null ? "Replaced by another device" : `Replaced by the device ${device}`;
    case "calibrate":
      return `${channel === undefined ? "Calibrated" : `Channel ${channel} calibrated`} from ${from} on: value × ${gain} + ${offset}`;
    case "interval":
      return `Polled every ${poll_interval} ms`;
    case "answer-timeout":
      return `Has ${answer_timeout} ms for an answer`;
    case "pause":
      return "Polls paused";
    case "settle":
      return `The device with the hardware address ${mac} is this sensor`;
  }
}

/** The two bounds of a sealed range such as `0..50 delay 5000`; null if there is none. */
export function rangeOf(text: string | undefined): [number, number] | null {
  const [bounds = ""] = (text ?? "").split(" ");
  const [low, high] = bounds.split("..").map(Number);
  return low !== undefined && high !== undefined && low < high ? [low, high] : null;
}

/**
 * On which side of the range the last value lies. Null if it lies within, or if its unit is not the
 * one the sensor declares for the range.
 */
export function beyondRange({ last, range, unit }: SensorAnswer): "above" | "below" | null {
  const value = last && numberOf(last);
  if (value === null || range === null || (last?.unit ?? null) !== unit) return null;
  if (value > range[1]) return "above";
  return value < range[0] ? "below" : null;
}

/** The `source` of events of a sensor with this name and location. */
export const sourceOf = ({ location, alias }: SensorAnswer): string => (location === "" ? alias : `${location}.${alias}`);
