// What an event in the log means to the page.

import { ownFields, type Envelope, type LogEvent, type Reading, type ReadingStatus, type Search, type Sealed } from "./api.ts";

/** Every action the contract names, and how it reads to a person. Readings first, then from the most to the least frequent. */
export const ACTIONS: Readonly<Record<string, string>> = {
  SENSOR_READING: "Reading",
  OUT_OF_RANGE: "Out of range",
  BACK_IN_RANGE: "Back in range",
  RANGE_NOT_JUDGED: "Range cannot be judged",
  SENSOR_LOST: "Sensor lost",
  SENSOR_BACK: "Sensor back",
  HEARTBEAT_MISSED: "Heartbeat missed",
  HEARTBEAT_RESUMED: "Heartbeat resumed",
  SENSOR_DISCONNECTED: "Sensor disconnected",
  SENSOR_DISCOVERED: "Sensor discovered",
  SENSOR_CHANGED: "Sensor changed",
  READINGS_MISSING: "Readings missing",
  SEQUENCE_BROKEN: "Sensor's count broken",
  FIELDS_LEFT_OUT: "Fields left out",
  HEARTBEATS_REFUSED: "Heartbeats refused",
  POLLS_STRETCHED: "Polled less often",
  POLLS_RESTORED: "Polled as asked",
  SENSOR_FORGOTTEN: "Sensor forgotten",
  READINGS_EXPORTED: "Readings exported",
  TAIL_ADOPTED: "Leaves taken over",
  ENGINE_DOWN: "Engine down",
  ENGINE_UP: "Engine up",
  EVENTS_EXPORTED: "Events exported",
  TOKEN_CREATED: "Token created",
  TOKEN_REVOKED: "Token revoked",
  CLOCK_JUMPED: "Clock jumped",
  CLOCK_CONFIRMED: "Clock confirmed",
  TOKEN_USED: "Token used",
  SITE_STARTED: "Site started",
  SITE_STOPPED: "Site stopped",
  LOG_CREATED: "Log created",
};

export const STATUSES: readonly ReadingStatus[] = ["SUCCESS", "COMM_ERROR", "VALUE_ERROR"];

const BAD_NEWS = new Set(["OUT_OF_RANGE", "RANGE_NOT_JUDGED", "SENSOR_LOST", "HEARTBEAT_MISSED", "SENSOR_DISCONNECTED", "READINGS_MISSING", "SEQUENCE_BROKEN", "HEARTBEATS_REFUSED", "POLLS_STRETCHED", "ENGINE_DOWN", "SITE_STOPPED"]);

/** After one of these, `/api/sensors` may say something that no field of the event tells. */
const CHANGES_FLEET = new Set([
  "SENSOR_DISCOVERED",
  "SENSOR_CHANGED",
  "HEARTBEAT_MISSED",
  "HEARTBEAT_RESUMED",
  "SENSOR_DISCONNECTED",
  "SENSOR_FORGOTTEN",
  "SENSOR_LOST",
  "SENSOR_BACK",
]);

/** The action of readings, by far the most frequent. */
export const READING = "SENSOR_READING";

/** Whether the site itself sealed it: it alone has fields of its own there. A program may log any action, so an action alone says nothing. */
export const isOwn = (envelope: Envelope): boolean => ownFields(envelope) !== undefined;
export const isReading = (envelope: Envelope): boolean => isOwn(envelope) && envelope.event.action === READING;
export const isBadNews = (envelope: Envelope): boolean =>
  isOwn(envelope) && (BAD_NEWS.has(envelope.event.action ?? "") || isFailure(envelope.event.status));
export const changesFleet = (event: LogEvent): boolean => CHANGES_FLEET.has(event.action ?? "");
export const isFailure = (status: string | undefined): boolean => status === "COMM_ERROR" || status === "VALUE_ERROR";

/** An action of the site's own in words; any other as it is. */
export const actionName = (action: string | undefined): string => ACTIONS[action ?? ""] ?? action ?? "Event";

export function statusName(status: string | undefined): string {
  if (status === "COMM_ERROR") return "No answer";
  if (status === "VALUE_ERROR") return "Not understood";
  return status === "SUCCESS" ? "Success" : (status ?? "");
}

/** The reading in an event, or null where it is another kind of event or lacks what a reading must have. */
export function readingOf({ leaf, envelope }: Sealed): Reading | null {
  const { event } = envelope;
  const { status, timestamp } = event;
  const { sensor, unit } = ownFields(envelope) ?? {};
  if (!isReading(envelope) || sensor === undefined || timestamp === undefined) return null;
  if (status !== "SUCCESS" && status !== "COMM_ERROR" && status !== "VALUE_ERROR") return null;
  return { sensor, leaf, timestamp: inMicroseconds(timestamp), status, value: event.new ?? "", ...(unit !== undefined && { unit }) };
}

/** The site writes six digits of a second; a log may have a moment with fewer. */
const inMicroseconds = (time: string): string =>
  time.replace(/:(\d\d)(?:\.(\d{1,6}))?Z$/, (_whole, second: string, digits = "") => `:${second}.${digits.padEnd(6, "0")}Z`);

/** The number a reading can be plotted as; a failed poll has none, whatever its value says. */
export function numberOf({ status, value }: Pick<Reading, "status" | "value">): number | null {
  if (status !== "SUCCESS" || value.trim() === "") return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}

/** Whether a live event belongs to a search, leaving out its query: the same rules as the gateway's, so that live and searched rows agree. */
export function matches(search: Search, { event, received_at }: Envelope): boolean {
  const { action, status } = event;
  if (search.not_action !== undefined && action === search.not_action) return false;
  if (search.action !== undefined && action !== search.action) return false;
  if (search.status !== undefined && status !== search.status) return false;
  const at = Date.parse(received_at);
  if (search.from !== undefined && !(at >= Date.parse(search.from))) return false;
  return search.to === undefined || at < Date.parse(search.to);
}
