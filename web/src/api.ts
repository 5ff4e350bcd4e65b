// The page port's API, typed as in docs/http-api.md. A refusal becomes an Error with the gateway's
// message.

export type SensorState = "online" | "expected" | "lost" | "disconnected" | "retired";
export type ReadingStatus = "SUCCESS" | "COMM_ERROR" | "VALUE_ERROR";

export type Counters = {
  polls: number;
  answers: number;
  timeouts: number;
  value_errors: number;
  late: number;
  duplicates: number;
  dropped: number;
  passed_over: number;
  skipped: number;
  refused_heartbeats: number;
};

/** How far a part of the site that follows the log is behind. */
export type FollowerLag = { name: string; lag_leaves: number; lag_ms: number; late: boolean };

export type SiteAnswer = {
  /** LogId of the log that the answer is about. */
  log: string;
  name: string;
  origin: string;
  vkey: string;
  /**
   * Address of the log port, for programs on the site's machine. The page reads the log at
   * `logUrl`.
   */
  log_url: string;
  /** Whether devices are let in without a credential. */
  open: boolean;
  /** Whether another server has a copy of the log. */
  mirrored: boolean;
  /** How often devices were refused since the site started. */
  refused_devices: number;
  version: string;
  leaves: number;
  /** Number of leaves that the site's witnesses have signed; absent if it has no witness policy. */
  witnessed_leaves?: number;
  followers: FollowerLag[];
  /** The shortest interval at which any sensor is polled now; null if each is polled as it asks. */
  shortest_interval_ms: number | null;
  /** What the site knows of its machine's clock. */
  clock: ClockAnswer;
  counters: Counters;
};

export type ClockAnswer = {
  /** Whether a time server sets the clock; null if nobody knows. */
  synchronised: boolean | null;
  /** By how much the clock is ahead of the time server. */
  offset_ms: number | null;
  /** The program that said it. */
  source: string | null;
  since: string;
  believed: boolean;
  /** Times that the clock was set since the site started. */
  steps: number;
};

/**
 * A sealed reading. `unit` was sealed with it and may differ from the sensor's present unit. `flags`
 * are words for what a reader must know, such as that the sensor's clock cannot be right.
 * `calibrated` is the value as a number, corrected by the calibration that is right for its time.
 * `channels` has what each channel measured, of a sensor with several.
 */
export type Reading = {
  sensor: string;
  leaf: number;
  timestamp: string;
  status: ReadingStatus;
  value: string;
  calibrated?: number;
  flags?: string;
  unit?: string;
  channels?: Record<string, ChannelReading>;
};

/** What a channel measured in a reading. */
export type ChannelReading = { value: string; calibrated?: number; unit?: string };

/** Readings of one sensor do not name it, because the request does. */
type UnnamedReading = Omit<Reading, "sensor">;

/** Milliseconds since 1970, and the value, or null if it is not a number. */
export type Point = [number, number | null];

/** An order that is in force about a sensor. The kind of order decides which other fields are set. */
export type SensorOrder = {
  order: "retire" | "maintain" | "rename" | "move" | "replace" | "calibrate" | "interval" | "answer-timeout" | "pause" | "settle";
  by: string;
  at: string;
  reason: string;
  /** Begin of a maintenance, or date of a calibration. */
  from?: string;
  until?: string;
  alias?: string;
  location?: string;
  /** Id of the device that is in the sensor's place. */
  device?: string | null;
  /** Hardware address of the device that is the sensor. */
  mac?: string;
  /** Milliseconds of an ordered interval, and of an ordered time for answers. */
  poll_interval?: number;
  answer_timeout?: number;
  gain?: string;
  offset?: string;
  /** The channel that is calibrated, of a sensor with several. */
  channel?: string;
};

export type SensorAnswer = {
  id: string;
  alias: string;
  location: string;
  state: SensorState;
  out_of_range: boolean;
  /** The last value could not be compared with the range. */
  not_judged: boolean;
  /** An order has paused its polls. */
  paused: boolean;
  /** Between two polls; of a sensor that reports by itself, the interval that a rule declares. */
  poll_interval_ms: number | null;
  orders: SensorOrder[];
  /** Since when several devices have the sensor's id and none counts as the sensor. */
  doubled: string | null;
  /** Rule by which a device reports the sensor by itself, or null if the site polls it. */
  rule: string | null;
  unit: string | null;
  quantity: string | null;
  range: [number, number] | null;
  last: UnnamedReading | null;
  recent: Point[];
  /** What it measures, if that is more than one value. */
  channels?: ChannelAnswer[];
};

/** A channel of a sensor, and how its newest value stands to its range. */
export type ChannelAnswer = {
  name: string;
  kind: "number" | "text" | "boolean" | "enum" | "numbers" | null;
  quantity: string | null;
  unit: string | null;
  range: [number, number] | null;
  standing: "inside" | "outside" | "not_judged" | null;
  last: UnnamedReading | null;
};

/** Conditions of a list of sensors, and the part of it that is asked for. */
export type SensorsQuery = {
  text?: string;
  location?: string;
  attention?: boolean;
  id?: string;
  offset?: number;
  limit?: number;
  /** Whether the answer lists all locations. */
  locations?: boolean;
};

/** Numbers of sensors of the whole site, whatever was asked. */
export type SensorTotals = { sensors: number; online: number; expected: number; paused: number; lost: number; disconnected: number; retired: number; out_of_range: number; attention: number };

/** A location, its sensors, and how many of them meet the conditions. */
export type Location = { location: string; sensors: number; found: number };

/** `found` is the number of sensors that meet the conditions. */
export type SensorsAnswer = { sensors: SensorAnswer[]; next: string | null; found: number; totals: SensorTotals; locations?: Location[] };

/**
 * Summary of the readings in a bucket. `min`, `max` and `mean` are `null` if no reading has a
 * number.
 */
export type Bucket = { start: string; readings: number; numbers: number; min: number | null; max: number | null; mean: number | null };

/** A span in few points: its readings, or buckets of equal width. */
export type PlotAnswer = { kind: "readings"; readings: UnnamedReading[] } | { kind: "buckets"; width_ms: number; buckets: Bucket[] };

/** What the newest answers of a sensor say of its clock; `offset_ms` is how far it is ahead. */
export type SensorClock = { answers: number; offset_ms?: number; spread_ms?: number; started_at?: string; boot?: string; flags?: string };

export type ReadingsAnswer = { truncated: boolean; readings: Reading[]; clock: SensorClock };

/** Sealwire's own fields, beside the event. The action decides which are set. */
export type SealwireFields = {
  sensor?: string;
  /** Number of the poll that the reading ended. */
  poll?: number;
  /** Numbers without a reading, for example `412-430`. */
  missing?: string;
  reason?: string;
  /** Number of the reading in the sensor's own count. */
  seq?: number;
  sensor_time?: string;
  /** Text of a time of the sensor's clock that is no moment. */
  device_time?: string;
  /** The site's own time, where its machine's clock was not believed. */
  site_time?: string;
  /** What a reader must know: words, separated by spaces. */
  flags?: string;
  /** How far `sensor_time` may be off, in milliseconds. */
  time_error?: number;
  /** The sensor's start from which `uptime` counts, in milliseconds. */
  boot?: string;
  uptime?: number;
  nonce?: string;
  unit?: string;
  /** Gain and offset by which the value is corrected; JSON text of those of each channel. */
  calibration?: string;
  /** An order about a sensor, as JSON text, and its reason. */
  order?: string;
  why?: string;
  /** The channel that a derived event is about. */
  channel?: string;
  /** Channels of a reading with several values, as JSON text. */
  channels?: string;
  /** Range as sealed, for example `0..50`. */
  range?: string;
  error?: string;
  raw?: string;
  from_leaf?: number;
  component?: string;
};

export type LogEvent = {
  message?: string;
  actor?: string;
  source?: string;
  action?: string;
  status?: string;
  target?: string;
  old?: string;
  new?: string;
  timestamp?: string;
  tenant_id?: string;
};

export type Envelope = { event: LogEvent; received_at: string; salt: string; sealwire?: SealwireFields };

/**
 * Sealwire's own fields of an envelope. Logs before format version 3 have them within the event.
 */
export const ownFields = ({ event, sealwire }: Envelope): SealwireFields | undefined =>
  sealwire ?? (event as { sealwire?: SealwireFields }).sealwire;

/** An envelope and the index of its leaf. */
export type Sealed = { leaf: number; envelope: Envelope };

export type Search = {
  action?: string;
  not_action?: string;
  status?: string;
  /** Words that any field must contain, and `field:word` for one field. */
  query?: string;
  from?: string;
  to?: string;
  limit?: number;
};
/**
 * `count` is the number of events found. If it is a lower bound, there are more than the site
 * counts.
 */
export type SearchAnswer = { id: string; count: number; count_is_lower_bound: boolean; events: Sealed[] };
export type ProofAnswer = { leaf: number; envelope: string; proof: string };

/** Most readings in one answer, from docs/http-api.md. */
export const READINGS_LIMIT_MAX = 5_000;
/** Most sensors in one answer. */
export const SENSORS_LIMIT_MAX = 500;

/** Path of a log on the page's own origin, so that it works wherever the page does. */
export const logUrl = (log: string): string => `/logs/${log}`;

/** Path of what the API says of a log; null is the site's own. */
export const apiOf = (log: string | null): string => (log === null ? "/api" : `/api/logs/${log}`);

/** Longer than any answer takes, but short enough for a person who waits. */
const REQUEST_TIMEOUT_MS = 15_000;

export class ApiError extends Error {
  /** HTTP status; 0 if there was no answer. */
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Message to show for an error. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A complete answer, within a time limit. Reading its body needs no further wait. With a token the
 * request is made in its name, else in that of the session.
 */
export async function fetchOk(url: string, init: RequestInit & { timeout_ms?: number; token?: string } = {}): Promise<Response> {
  const { timeout_ms = REQUEST_TIMEOUT_MS, token, ...asked } = init;
  const timeout = AbortSignal.timeout(timeout_ms);
  if (token !== undefined) asked.headers = { ...(asked.headers as Record<string, string>), authorization: `Bearer ${token}` };
  const { host } = new URL(url, location.href);
  let response: Response;
  try {
    const coming = await fetch(url, { ...asked, signal: timeout, credentials: "same-origin" });
    // The headers may arrive at once and the body never.
    const { status, statusText, headers } = coming;
    response = new Response(await coming.arrayBuffer(), { status, statusText, headers });
  } catch {
    // The message of fetch differs by browser and does not help the reader.
    throw new ApiError(timeout.aborted ? `${host} did not answer within ${timeout_ms / 1000} s.` : `${host} cannot be reached.`, 0);
  }
  // The session has ended, or there never was one: the page is of no use without it.
  if (response.status === 401 && token === undefined) location.assign("/sign-in");
  if (!response.ok) throw new ApiError(await refusal(response, host), response.status);
  return response;
}

async function refusal(response: Response, host: string): Promise<string> {
  const plain = `${host} answered ${response.status} ${response.statusText}`.trim();
  if (!response.headers.get("content-type")?.startsWith("application/problem+json")) return `${plain}.`;
  try {
    const { title, detail } = (await response.json()) as { title?: string; detail?: string };
    return detail ?? title ?? `${plain}.`;
  } catch {
    return `${plain}.`;
  }
}

/** The answer to a question of the API, as JSON. */
export async function question<Answer>(path: string, body?: object): Promise<Answer> {
  const init = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetchOk(path, init);
  try {
    return (await response.json()) as Answer;
  } catch {
    // `ui` answers unknown paths with the page itself, so without a gateway the answer can look
    // like a success.
    throw new ApiError(`The answer to ${path} is not JSON: is the gateway running?`, response.status);
  }
}

/** The site of a log. */
export async function fetchSite(log: string | null): Promise<SiteAnswer> {
  const answer = await question<SiteAnswer>(log === null ? "/api/site" : apiOf(log));
  if (log !== null && answer.log !== log) throw new ApiError("The site answers for another log than the one that this address names.", 0);
  return answer;
}

export function fetchSensors(log: string | null, asked: SensorsQuery): Promise<SensorsAnswer> {
  const query = new URLSearchParams(Object.entries(asked).map(([name, value]) => [name, String(value)]));
  return question(`${apiOf(log)}/sensors?${query}`);
}

/** Readings of a sensor, or with a channel what each measured there. */
export async function fetchReadings(log: string | null, sensor: string, channel: string | null, from: Date, limit: number): Promise<ReadingsAnswer> {
  const query = new URLSearchParams({ ...(channel !== null && { channel }), from: from.toISOString(), limit: String(limit) });
  const { truncated, readings, clock } = await question<{ truncated: boolean; readings: UnnamedReading[]; clock: SensorClock }>(`${apiOf(log)}/sensors/${encodeURIComponent(sensor)}/readings?${query}`);
  // Show the readings under the requested sensor, whatever sensor the answer names.
  return {
    truncated,
    clock,
    readings: readings.map(({ leaf, timestamp, status, value, calibrated, flags, unit, channels }) => ({
      sensor,
      leaf,
      timestamp,
      status,
      value,
      ...(calibrated !== undefined && { calibrated }),
      ...(flags !== undefined && { flags }),
      ...(unit !== undefined && { unit }),
      ...(channels !== undefined && { channels }),
    })),
  };
}

export function fetchPlot(log: string | null, sensor: string, channel: string | null, from: Date, points: number): Promise<PlotAnswer> {
  const query = new URLSearchParams({ ...(channel !== null && { channel }), from: from.toISOString(), points: String(points) });
  return question(`${apiOf(log)}/sensors/${encodeURIComponent(sensor)}/readings?${query}`);
}

export const searchLog = (log: string | null, search: Search): Promise<SearchAnswer> => question(log === null ? "/api/logs" : `${apiOf(log)}/search`, search);

export const fetchResults = (log: string | null, id: string, offset: number, limit: number): Promise<SearchAnswer> =>
  question(`${apiOf(log)}/results`, { id, offset, limit });

export const fetchProof = (log: string | null, leaf: number): Promise<ProofAnswer> => question(`${apiOf(log)}/proof/${leaf}`);
