// The copy of the log that another server has, typed as in docs/http-api.md.

import { apiOf, question, type LogEvent } from "./api.ts";

/** How far the log is mirrored. */
export type MirrorAnswer = {
  server: string;
  leaves: number;
  next_leaf: number;
  lag_leaves: number;
  taken: number;
  parked: number;
  /** The newest of the parked leaves, newest first. */
  newest_parked: { leaf: number; reason: string }[];
  /** Why the last call led to nothing; null while all is well. */
  trouble: string | null;
};

/** An event of the copy, in the server's envelope. */
export type CopiedEvent = {
  envelope: { event?: LogEvent; received_at?: string };
  hash: string | null;
  /** Whether the server proved that the event is in its tree. The site checked that. */
  proved: boolean;
};

/** The newest events of the copy that a query finds; `count` is how many there are. */
export type CopiedAnswer = { count: number; events: CopiedEvent[] };

export function fetchMirror(log: string | null): Promise<MirrorAnswer> {
  return question(`${apiOf(log)}/mirror`);
}

export function searchCopy(log: string | null, query: string): Promise<CopiedAnswer> {
  return question(`${apiOf(log)}/mirror/search`, { query });
}
