// The live feed: one EventSource on the log port, opened again at the leaf it had reached.
//
// The browser reconnects by itself after a lost connection, but gives up after an answer that is not a stream (a site that is just starting);
// that case is ours. Leaves come in order, so `#next_leaf` is all that is needed to go on and to drop repeats.

import type { Sealed } from "./api.ts";

export type FeedState = { is: "connecting" } | { is: "live" } | { is: "reconnecting"; since_ms: number } | { is: "paused" };

export type FeedHandlers = {
  sealed(event: Sealed): void;
  /** Leaves `from` to `to` (exclusive) will not come. */
  missed(from: number, to: number): void;
  state(state: FeedState): void;
};

const RETRY_FIRST_MS = 1_000;
/** An operator who restarts a site should not have to wait longer than this for the page to notice. */
const RETRY_MAX_MS = 15_000;

export class Feed {
  readonly #log_url: string;
  readonly #access_token: string;
  readonly #handlers: FeedHandlers;
  #next_leaf: number;
  #source: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #retry_ms = RETRY_FIRST_MS;
  #down_since_ms: number | null = null;

  constructor(log_url: string, access_token: string, from: number, handlers: FeedHandlers) {
    this.#log_url = log_url;
    this.#access_token = access_token;
    this.#next_leaf = from;
    this.#handlers = handlers;
  }

  open(): void {
    this.#close();
    const source = new EventSource(`${this.#log_url}/live?from=${this.#next_leaf}&token=${this.#access_token}`);
    this.#source = source;
    source.onopen = () => {
      this.#retry_ms = RETRY_FIRST_MS;
      this.#down_since_ms = null;
      this.#handlers.state({ is: "live" });
    };
    source.onerror = () => {
      this.#down_since_ms ??= Date.now();
      this.#handlers.state({ is: "reconnecting", since_ms: this.#down_since_ms });
      if (source.readyState === EventSource.CLOSED) this.#retry_later();
    };
    source.addEventListener("sealed", ({ data }: MessageEvent<string>) => {
      const event = JSON.parse(data) as Sealed;
      if (event.leaf < this.#next_leaf) return;
      this.#next_leaf = event.leaf + 1;
      this.#handlers.sealed(event);
    });
    source.addEventListener("missed", ({ data }: MessageEvent<string>) => {
      const { from, to } = JSON.parse(data) as { from: number; to: number };
      this.#next_leaf = Math.max(this.#next_leaf, to);
      this.#handlers.missed(from, to);
    });
  }

  /** Gives the connection back: browsers allow few to one host, and nobody looks. `open` goes on where this stopped. */
  pause(): void {
    this.#close();
    this.#down_since_ms = null;
    this.#handlers.state({ is: "paused" });
  }

  #close(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #retry_later(): void {
    // A third of jitter, so that a control room's screens do not all come back in the same instant.
    const wait_ms = this.#retry_ms * (1 + Math.random() / 3);
    this.#retry_ms = Math.min(this.#retry_ms * 2, RETRY_MAX_MS);
    this.#retry = setTimeout(() => this.open(), wait_ms);
  }
}
