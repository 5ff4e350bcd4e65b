// One EventSource on the site's live feed, which reopens at the leaf it had reached. It runs in the
// worker that all windows share, or in the page.
//
// The browser reconnects after a lost connection, but gives up after an answer that is not a stream
// (for example from a site that is starting). This module handles that case. Leaves arrive in
// order, so `#next_leaf` is enough to continue and to drop repeated leaves.

import { logUrl } from "./api.ts";

export type FeedState =
  | { is: "connecting" }
  | { is: "live" }
  /** `why` is null if the connection was lost and the cause is unknown. */
  | { is: "reconnecting"; since_ms: number; why: string | null }
  | { is: "paused" };

export type SourceHandlers = {
  /** `data` is the JSON of a leaf with its envelope. */
  sealed(leaf: number, data: string): void;
  /** The leaves from `from` to `to` (exclusive) will not arrive. */
  missed(from: number, to: number): void;
  state(state: FeedState): void;
};

const RETRY_FIRST_MS = 1_000;
/** An operator who restarts a site should not wait longer than this for the page to reconnect. */
const RETRY_MAX_MS = 15_000;
/** How long the feed may take to begin. The site answers at once. */
const BEGIN_TIMEOUT_MS = 10_000;
const HELD_BACK =
  `The feed did not begin within ${BEGIN_TIMEOUT_MS / 1000} s. A proxy between this browser and the site may be buffering it, ` +
  "or other windows may be using all connections that the browser allows.";

export class Feed {
  /** Path of the feed on the page's own origin. */
  readonly #path: string;
  readonly #handlers: SourceHandlers;
  #next_leaf: number;
  #source: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #begin: ReturnType<typeof setTimeout> | undefined;
  #retry_ms = RETRY_FIRST_MS;
  #down_since_ms: number | null = null;

  constructor(log: string, from: number, handlers: SourceHandlers) {
    this.#path = `${logUrl(log)}/live`;
    this.#next_leaf = from;
    this.#handlers = handlers;
  }

  open(): void {
    this.#close();
    const source = new EventSource(`${this.#path}?from=${this.#next_leaf}`);
    this.#source = source;
    this.#begin = setTimeout(() => this.#down(HELD_BACK), BEGIN_TIMEOUT_MS);
    source.onopen = () => {
      clearTimeout(this.#begin);
      this.#retry_ms = RETRY_FIRST_MS;
      this.#down_since_ms = null;
      this.#handlers.state({ is: "live" });
    };
    source.onerror = () => {
      this.#down(null);
      if (source.readyState !== EventSource.CLOSED) return;
      this.#retry_later();
      void whyRefused(this.#path).then((why) => this.#source === source && why !== null && this.#down(why));
    };
    source.addEventListener("sealed", ({ data, lastEventId }: MessageEvent<string>) => {
      const leaf = Number(lastEventId);
      if (leaf < this.#next_leaf) return;
      this.#next_leaf = leaf + 1;
      this.#handlers.sealed(leaf, data);
    });
    source.addEventListener("missed", ({ data }: MessageEvent<string>) => {
      const { from, to } = JSON.parse(data) as { from: number; to: number };
      this.#next_leaf = Math.max(this.#next_leaf, to);
      this.#handlers.missed(from, to);
    });
  }

  /**
   * Closes the connection: browsers allow few to one host, and nobody is looking. `open` continues
   * from the same leaf.
   */
  pause(): void {
    this.#close();
    this.#down_since_ms = null;
    this.#handlers.state({ is: "paused" });
  }

  #close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#begin);
    this.#source?.close();
    this.#source = null;
  }

  #down(why: string | null): void {
    clearTimeout(this.#begin);
    this.#down_since_ms ??= Date.now();
    this.#handlers.state({ is: "reconnecting", since_ms: this.#down_since_ms, why });
  }

  #retry_later(): void {
    // Up to a third of jitter, so that the screens of a control room do not all reconnect at once.
    const wait_ms = this.#retry_ms * (1 + Math.random() / 3);
    this.#retry_ms = Math.min(this.#retry_ms * 2, RETRY_MAX_MS);
    this.#retry = setTimeout(() => this.open(), wait_ms);
  }
}

/**
 * An EventSource does not reveal the answer, so this repeats the request. Null if the answer is not
 * a refusal.
 */
async function whyRefused(path: string): Promise<string | null> {
  const asking = new AbortController();
  const timeout = setTimeout(() => asking.abort(), BEGIN_TIMEOUT_MS);
  try {
    const response = await fetch(path, { headers: { accept: "text/event-stream" }, signal: asking.signal, credentials: "same-origin" });
    if (response.ok) return null;
    const { detail } = (await response.json()) as { detail?: unknown };
    return typeof detail === "string" ? detail : null;
  } catch {
    return null;
  } finally {
    clearTimeout(timeout);
    // If the feed itself answers, close it: this request needs only the status.
    asking.abort();
  }
}
