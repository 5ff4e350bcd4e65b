// One feed for all windows of a browser: keeps track of the windows and passes events on to them.
// It runs in the shared worker and does not depend on it.
//
// Over HTTP/1.1 a browser allows six connections to one host for all its windows together. A feed
// in each window could use up all of them, and then no window could send a request. A window that
// joins later receives the events kept for it.

import type { FeedState, SourceHandlers } from "./feed.ts";

/** Message from a window. */
export type ToHub =
  /**
   * Follow the log from this leaf on. Windows repeat it regularly, because a window that crashes
   * sends no `leave`.
   */
  | { is: "follow"; log: string; from: number; anew: boolean }
  | { is: "leave" };

/** Message to a window. */
export type FromHub =
  | { is: "sealed"; events: [leaf: number, data: string][] }
  | { is: "missed"; from: number; to: number }
  | { is: "state"; state: FeedState };

export type Port = { postMessage(message: FromHub): void };

/** What the hub needs of a feed. */
export type Source = { open(): void; pause(): void };

/** Interval at which a window repeats `follow`. */
export const HERE_PERIOD_MS = 10_000;
/** A window that is silent for longer has gone. */
const SILENCE_MAX_MS = 3.5 * HERE_PERIOD_MS;
/**
 * Most events kept for windows that join later: twice as many as the site goes back, so that as
 * many as that remain after half of them is dropped.
 */
const KEPT_MAX = 2_000;
/** Most characters of these events. One envelope may have two million. */
const KEPT_CHARS_MAX = 8_000_000;

export class Hub {
  readonly #open: (log: string, from: number, handlers: SourceHandlers) => Source;
  readonly #later: (run: () => void) => void;
  /** When each window last sent a message. */
  readonly #followers = new Map<Port, number>();
  #log: string | null = null;
  #source: Source | null = null;
  #state: FeedState = { is: "connecting" };
  /** The newest events, from leaf `#kept_from` on. Earlier ones are no longer known. */
  #kept: [number, string][] = [];
  #kept_from = 0;
  #kept_chars = 0;
  /** Events to send to all windows together, soon. */
  #waiting: [number, string][] = [];

  /**
   * `later` runs a callback once, soon, so that a burst of events becomes one message to each
   * window.
   */
  constructor(open: (log: string, from: number, handlers: SourceHandlers) => Source, later: (run: () => void) => void) {
    this.#open = open;
    this.#later = later;
  }

  hear(port: Port, message: ToHub, now_ms: number): void {
    if (message.is === "leave") this.#followers.delete(port);
    else this.#follow(port, message, now_ms);
    for (const [silent, heard_ms] of this.#followers) {
      if (now_ms - heard_ms > SILENCE_MAX_MS) this.#followers.delete(silent);
    }
    if (this.#followers.size === 0) this.#stop();
  }

  #follow(port: Port, { log, from, anew }: ToHub & { is: "follow" }, now_ms: number): void {
    const known = this.#followers.has(port);
    // A new window receives the kept events, which include the waiting ones.
    if (!known) this.#flush();
    this.#followers.set(port, now_ms);
    // The window that sees another log, or a shorter one, has the site's latest answer.
    if (this.#source === null || log !== this.#log || (anew && !known)) {
      this.#start(log, from);
      return;
    }
    if (!known) {
      if (from < this.#kept_from) port.postMessage({ is: "missed", from, to: this.#kept_from });
      const events = this.#kept.filter(([leaf]) => leaf >= from);
      if (events.length > 0) port.postMessage({ is: "sealed", events });
    }
    // Always reply: a window that gets no reply takes the worker for dead.
    port.postMessage({ is: "state", state: this.#state });
  }

  #start(log: string, from: number): void {
    this.#stop();
    this.#log = log;
    this.#forget(from);
    const source = this.#open(log, from, {
      sealed: (leaf, data) => this.#source === source && this.#sealed([leaf, data]),
      missed: (from, to) => this.#source === source && this.#missed(from, to),
      state: (state) => this.#source === source && this.#tell_state(state),
    });
    this.#source = source;
    this.#tell_state({ is: "connecting" });
    source.open();
  }

  #stop(): void {
    const source = this.#source;
    [this.#source, this.#log, this.#waiting] = [null, null, []];
    this.#forget(0);
    source?.pause();
  }

  #forget(from: number): void {
    [this.#kept, this.#kept_from, this.#kept_chars] = [[], from, 0];
  }

  #sealed(event: [number, string]): void {
    this.#kept.push(event);
    this.#kept_chars += event[1].length;
    while (this.#kept.length > KEPT_MAX || this.#kept_chars > KEPT_CHARS_MAX) {
      // Drop half at once, so that the rest is not moved for each event.
      for (const [leaf, data] of this.#kept.splice(0, Math.ceil(this.#kept.length / 2))) {
        this.#kept_from = leaf + 1;
        this.#kept_chars -= data.length;
      }
    }
    if (this.#waiting.push(event) === 1) this.#later(() => this.#flush());
  }

  #missed(from: number, to: number): void {
    this.#flush();
    this.#forget(to);
    this.#tell({ is: "missed", from, to });
  }

  #tell_state(state: FeedState): void {
    this.#state = state;
    this.#tell({ is: "state", state });
  }

  #flush(): void {
    const events = this.#waiting;
    this.#waiting = [];
    if (events.length > 0) this.#tell({ is: "sealed", events });
  }

  #tell(message: FromHub): void {
    for (const port of this.#followers.keys()) port.postMessage(message);
  }
}
