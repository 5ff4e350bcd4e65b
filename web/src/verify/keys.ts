// Fetches the keys of a log from the log itself, proved by the verifier.

import { fetchOk } from "../api.ts";
import type { Keys } from "./trust.ts";
import { followKeys } from "./verifier.ts";

/** The proved keys in the log's order. Throws an error with a message if a proof fails. */
export async function fetchKeys(log_url: string): Promise<Keys> {
  const { keys } = (await (await fetchOk(`${log_url}/keys`)).json()) as { keys: { leaf: number; envelope: string; proof: string }[] };
  const events = keys.map(({ leaf, envelope, proof }) => ({ leaf, envelope: new TextEncoder().encode(envelope), proof }));
  const [first, ...rest] = await followKeys(events);
  if (first === undefined) throw new Error("The log names no key.");
  return [first, ...rest];
}
