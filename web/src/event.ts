// What a log event means to the page.

import { ownFields, type Envelope, type LogEvent, type Reading, type ReadingStatus, type Search, type Sealed } from "./api.ts";
import { channelsOf, corrected, finite } from "./channels.ts";

/**
 * Every action in docs/http-api.md, and its name for people. Readings come first, then the others
 * from most to least frequent.
 */
export const ACTIONS: Readonly<Record<string, string>> = {
  SENSOR_READING: "Reading",
  OUT_OF_RANGE: "Out of range",
  LEAVING_RANGE: "Leaving its range",
  BACK_IN_RANGE: "Back in range",
  RANGE_NOT_JUDGED: "Range cannot be judged",
  NOT_JUDGED: "Not judged",
  DERIVED: "Derived value",
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
  PUSHES_REFUSED: "Messages refused",
  POLLS_STRETCHED: "Polled less often",
  POLLS_RESTORED: "Polled as often as asked",
  SENSOR_FORGOTTEN: "Sensor forgotten",
  SENSOR_DOUBLED: "Several devices have the id",
  DEVICE_KEPT_APART: "Second device kept apart",
  DOUBLE_SETTLED: "Device of the sensor decided",
  SENSOR_RETIRED: "Sensor retired",
  SENSOR_RECALLED: "Sensor expected again",
  MAINTENANCE_SET: "Maintenance set",
  MAINTENANCE_ENDED: "Maintenance ended",
  SENSOR_RENAMED: "Sensor renamed",
  SENSOR_MOVED: "Sensor moved",
  SENSOR_REPLACED: "Sensor replaced",
  SENSOR_CALIBRATED: "Sensor calibrated",
  SENSOR_ADDED: "Sensor added",
  POLL_ORDERED: "Poll ordered",
  POLL_INTERVAL_SET: "Poll interval set",
  ANSWER_TIMEOUT_SET: "Time for answers set",
  POLLS_PAUSED: "Polls paused",
  POLLS_RESUMED: "Polls resumed",
  READINGS_EXPORTED: "Readings exported",
  HISTORY_IMPORTED: "History imported",
  EVENT_IMPORTED: "Imported event",
  TAIL_ADOPTED: "Leaves adopted",
  ENGINE_DOWN: "Engine down",
  ENGINE_UP: "Engine up",
  COMPONENT_DEPLOYED: "Component deployed",
  COMPONENT_ROLLED_BACK: "Component rolled back",
  HOST_JOINED: "Host joined",
  HOST_LOST: "Host lost",
  JUDGING_LATE: "Judging late",
  JUDGING_CAUGHT_UP: "Judging caught up",
  INDEX_LATE: "Index late",
  INDEX_CAUGHT_UP: "Index caught up",
  EVENTS_EXPORTED: "Events exported",
  SIGNED_IN: "Signed in",
  SIGNED_OUT: "Signed out",
  CALLERS_REFUSED: "Callers refused",
  CREDENTIAL_ADDED: "Credential added",
  CREDENTIAL_ROTATED: "Credential rotated",
  CREDENTIAL_REVOKED: "Credential revoked",
  CREDENTIAL_USED: "Credential used",
  DEVICES_REFUSED: "Devices refused",
  MIRRORED: "Mirrored",
  MIRROR_REFUSED: "Refused by the mirror",
  COMPONENT_PUBLISHED: "Component published",
  COMPONENT_DELETED: "Component deleted",
  COMPONENT_POLICY_SET: "Demands on components set",
  COMPONENT_FORBIDDEN: "Component not started",
  HOST_ADDED: "Host added",
  HOST_REMOVED: "Host removed",
  TOKEN_CREATED: "Token created",
  TOKEN_REVOKED: "Token revoked",
  CLOCK_STEPPED: "Clock set",
  CLOCK_QUALITY: "Quality of the clock",
  CLOCK_JUMPED: "Clock jumped",
  CLOCK_CONFIRMED: "Clock confirmed",
  TOKEN_USED: "Token used",
  SITE_STARTED: "Site started",
  SITE_STOPPED: "Site stopped",
  LOG_CREATED: "Log created",
};

export const STATUSES: readonly ReadingStatus[] = ["SUCCESS", "COMM_ERROR", "VALUE_ERROR"];

const BAD_NEWS = new Set(["OUT_OF_RANGE", "RANGE_NOT_JUDGED", "NOT_JUDGED", "SENSOR_LOST", "HEARTBEAT_MISSED", "SENSOR_DISCONNECTED", "READINGS_MISSING", "SEQUENCE_BROKEN", "HEARTBEATS_REFUSED", "SENSOR_DOUBLED", "DEVICE_KEPT_APART", "PUSHES_REFUSED", "POLLS_STRETCHED", "ENGINE_DOWN", "HOST_LOST", "COMPONENT_FORBIDDEN", "JUDGING_LATE", "INDEX_LATE", "CLOCK_STEPPED", "SITE_STOPPED"]);

/**
 * After one of these actions, `/api/sensors` may show changes that the event's own fields do not.
 */
const CHANGES_FLEET = new Set([
  "SENSOR_DISCOVERED",
  "SENSOR_CHANGED",
  "HEARTBEAT_MISSED",
  "HEARTBEAT_RESUMED",
  "SENSOR_DISCONNECTED",
  "SENSOR_FORGOTTEN",
  "SENSOR_DOUBLED",
  "DOUBLE_SETTLED",
  "SENSOR_RETIRED",
  "SENSOR_RECALLED",
  "MAINTENANCE_SET",
  "MAINTENANCE_ENDED",
  "SENSOR_RENAMED",
  "SENSOR_MOVED",
  "SENSOR_REPLACED",
  "SENSOR_CALIBRATED",
  "SENSOR_ADDED",
  "POLL_INTERVAL_SET",
  "ANSWER_TIMEOUT_SET",
  "POLLS_PAUSED",
  "POLLS_RESUMED",
  "SENSOR_LOST",
  "SENSOR_BACK",
  "OUT_OF_RANGE",
  "BACK_IN_RANGE",
  "RANGE_NOT_JUDGED",
]);

/** Action of readings, by far the most frequent. */
export const READING = "SENSOR_READING";

/**
 * Whether the site itself made the event: only the site sets Sealwire's own fields. A program may
 * log any action, so the action alone proves nothing.
 */
export const isOwn = (envelope: Envelope): boolean => ownFields(envelope) !== undefined;
export const isReading = (envelope: Envelope): boolean => isOwn(envelope) && envelope.event.action === READING;
export const isBadNews = (envelope: Envelope): boolean =>
  isOwn(envelope) && (BAD_NEWS.has(envelope.event.action ?? "") || isFailure(envelope.event.status));
export const changesFleet = (event: LogEvent): boolean => CHANGES_FLEET.has(event.action ?? "");
export const isFailure = (status: string | undefined): boolean => status === "COMM_ERROR" || status === "VALUE_ERROR";

/** Name for people of one of the site's own actions; any other action unchanged. */
export const actionName = (action: string | undefined): string => ACTIONS[action ?? ""] ?? action ?? "Event";

export function statusName(status: string | undefined): string {
  if (status === "COMM_ERROR") return "No answer";
  if (status === "VALUE_ERROR") return "Not understood";
  return status === "SUCCESS" ? "Success" : (status ?? "");
}

/** The reading in an event; null if it is another event or lacks a required field. */
export function readingOf({ leaf, envelope }: Sealed): Reading | null {
  const { event } = envelope;
  const { status } = event;
  const { sensor, unit, flags, channels: declared, calibration } = ownFields(envelope) ?? {};
  const timestamp = takenAt(envelope);
  if (!isReading(envelope) || sensor === undefined || timestamp === undefined) return null;
  if (status !== "SUCCESS" && status !== "COMM_ERROR" && status !== "VALUE_ERROR") return null;
  const value = event.new ?? "";
  const is_measured = status === "SUCCESS";
  const channels = is_measured && declared !== undefined ? channelsOf(value, declared, calibration) : undefined;
  const calibrated = is_measured && declared === undefined ? corrected(value, calibration) : undefined;
  return {
    sensor,
    leaf,
    timestamp: inMicroseconds(timestamp),
    status,
    value,
    ...(calibrated !== undefined && { calibrated }),
    ...(flags !== undefined && { flags }),
    ...(unit !== undefined && { unit }),
    ...(channels !== undefined && { channels }),
  };
}

/**
 * A reading without its corrected values. They follow from orders about the sensor, and an order
 * may be sealed after the readings that it is about.
 */
export function asWritten({ calibrated: _, channels, ...reading }: Reading): Reading {
  if (channels === undefined) return reading;
  const written = Object.entries(channels).map(([name, { calibrated: _, ...measured }]) => [name, measured]);
  return { ...reading, channels: Object.fromEntries(written) };
}

/**
 * When a reading was taken, as far as the site can believe it. The rule is the site's own, so that
 * live rows and fetched ones agree: the site's time where its machine's clock was not believed, the
 * device's for what a device kept and reported later, and else the time at which the site received
 * the reading.
 */
export function takenAt(envelope: Envelope): string | undefined {
  const { site_time, sensor_time, flags } = ownFields(envelope) ?? {};
  const is_late = (flags ?? "").split(" ").includes("historical");
  return site_time ?? (is_late ? sensor_time : undefined) ?? envelope.event.timestamp;
}

/** Flags for people. A flag that is not known here is shown as it is. */
const FLAGS: ReadonlyMap<string, string> = new Map([
  ["too_early", "the sensor's clock was never set"],
  ["in_the_future", "the sensor's clock is far ahead"],
  ["ntp_era", "the sensor's clock is in 2036, where NTP's seconds start again"],
  ["unix_32_bit", "the sensor's clock is at the end of its 32 bits"],
  ["wrong_unit", "the sensor's time is in another unit"],
  ["year_out_of_range", "the year of the sensor's time is out of range"],
  ["leap_second", "the sensor's time is in a leap second"],
  ["no_zone", "the sensor's time names no zone"],
  ["not_a_time", "the sensor's time is none"],
  ["clock_back", "the sensor's clock went back"],
  ["clock_ahead", "the sensor's clock jumped ahead"],
  ["uptime_back", "the sensor's uptime went back"],
  ["uptime_wrapped", "the sensor's uptime began again at zero"],
  ["site_clock", "the clock of the site's machine was not believed"],
  ["historical", "the device kept it and reported it later"],
]);

export const flagsInWords = (flags: string): string =>
  flags
    .split(" ")
    .map((flag) => FLAGS.get(flag) ?? flag)
    .join("; ");

/** The site writes six fractional digits of a second; other programs may write fewer. */
const inMicroseconds = (time: string): string =>
  time.replace(/:(\d\d)(?:\.(\d{1,6}))?Z$/, (_whole, second: string, digits = "") => `:${second}.${digits.padEnd(6, "0")}Z`);

/** The number to plot for a reading, corrected if it can be; a failed poll has none, whatever its value. */
export function numberOf({ status, value, calibrated }: Pick<Reading, "status" | "value" | "calibrated">): number | null {
  return status === "SUCCESS" ? (calibrated ?? finite(value)) : null;
}

/**
 * Whether a live event matches a search, apart from its query. The rules are the gateway's, so that
 * live rows and search results agree.
 */
export function matches(search: Search, { event, received_at }: Envelope): boolean {
  const { action, status } = event;
  if (search.not_action !== undefined && action === search.not_action) return false;
  if (search.action !== undefined && action !== search.action) return false;
  if (search.status !== undefined && status !== search.status) return false;
  const at = Date.parse(received_at);
  if (search.from !== undefined && !(at >= Date.parse(search.from))) return false;
  return search.to === undefined || at < Date.parse(search.to);
}
