// What operators need beyond readings, typed as in docs/http-api.md: who they are, why devices were
// refused, and orders about how sensors are polled.

import { apiOf, fetchOk, question, type Envelope, type Sealed } from "./api.ts";

/** Who asks: the name of a token, or null where nobody has to sign in; and whether it may order. */
export type SessionAnswer = { name: string | null; operates: boolean };

/** Who this browser is, or whose a token is. */
export async function fetchSession(token?: string): Promise<SessionAnswer> {
  return (await fetchOk("/session", token === undefined ? {} : { token })).json() as Promise<SessionAnswer>;
}

/** One kind of refusal: in whose name somebody came, why it was refused, and what to do about it. */
export type Refusal = {
  who: string;
  why: string;
  /** Empty if the site knows nothing. */
  advice: string;
  count: number;
  last: string;
  /** Sensors of the credential in whose name it came, the first few of `covers`. */
  sensors: { id: string; alias: string }[];
  covers: number;
};

/** The newest kinds of refusals since the site started; `found` is how many there are. */
export type RefusalsAnswer = { refusals: Refusal[]; found: number };

/** What devices were refused: all of them, or that of a sensor. */
export function fetchRefusals(log: string | null, sensor?: string): Promise<RefusalsAnswer> {
  const query = sensor === undefined ? "" : `?sensor=${encodeURIComponent(sensor)}`;
  return question(`${apiOf(log)}/refusals${query}`);
}

/** An order about a sensor, with its name in docs/formats/polling.md. */
export type Order =
  | { order: "poll"; reason?: string }
  | { order: "pause" | "resume"; reason: string }
  | { order: "interval"; poll_interval: number | null; reason: string }
  | { order: "timeout"; answer_timeout: number | null; reason: string };

/** The site gives an ordered poll 90 s, and answers by itself after that. */
const ORDER_TIMEOUT_MS = 100_000;

/** Gives an order. Returns the sealed event that it led to: the reading, or the order itself. */
export async function giveOrder(log: string | null, sensor: string, order: Order, token?: string): Promise<Sealed> {
  const { order: name, ...request } = order;
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ sensor, ...request }), timeout_ms: ORDER_TIMEOUT_MS };
  const response = await fetchOk(`/api/polling/${name}`, token === undefined ? init : { ...init, token });
  const { leaf } = (await response.json()) as { leaf: number };
  return fetchSealed(log, leaf);
}

/** What was sealed at a leaf. Nothing is proved here: a row offers that. */
async function fetchSealed(log: string | null, leaf: number): Promise<Sealed> {
  const { envelope } = await question<{ envelope: string }>(`${apiOf(log)}/proof/${leaf}`);
  return { leaf, envelope: JSON.parse(envelope) as Envelope };
}
