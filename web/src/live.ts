// The live feed of a window: through the worker that all windows share, or directly if the browser
// has no shared workers.
//
// Desktop Chromium and Firefox have shared workers, and Safari from version 16. Chromium on Android
// has none. There only one window is visible at a time, and a hidden window pauses its feed, so a
// feed for each window is still only one for the browser.

import type { Sealed } from "./api.ts";
import { Feed, type FeedState, type SourceHandlers } from "./feed.ts";
import { HERE_PERIOD_MS, type FromHub, type Source, type ToHub } from "./hub.ts";

export type { FeedState } from "./feed.ts";

export type FeedHandlers = {
  sealed(event: Sealed): void;
  /** The leaves from `from` to `to` (exclusive) will not arrive. */
  missed(from: number, to: number): void;
  state(state: FeedState): void;
};

/** The log to follow. It keeps windows that see different logs from mixing up their leaves. */
export type Following = {
  log: string;
  from: number;
  /** The log is not the one that this window followed before, or it has become shorter. */
  anew: boolean;
};

/** How long the worker may take to answer before the window opens its own feed. */
const WORKER_TIMEOUT_MS = 5_000;

/** A feed that starts when `open` is called. */
export class LiveFeed implements Source {
  readonly #following: Following;
  readonly #handlers: FeedHandlers;
  #next_leaf: number;
  #by: Source | null = null;

  constructor(following: Following, handlers: FeedHandlers) {
    this.#following = following;
    this.#handlers = handlers;
    this.#next_leaf = following.from;
  }

  open(): void {
    this.#by ??= this.#shared() ?? this.#alone();
    this.#by.open();
  }

  pause(): void {
    this.#by?.pause();
  }

  #source_handlers(): SourceHandlers {
    return {
      sealed: (leaf, data) => {
        if (leaf < this.#next_leaf) return;
        this.#next_leaf = leaf + 1;
        this.#handlers.sealed(JSON.parse(data) as Sealed);
      },
      missed: (from, to) => {
        if (to <= this.#next_leaf) return;
        this.#next_leaf = to;
        this.#handlers.missed(from, to);
      },
      state: (state) => this.#handlers.state(state),
    };
  }

  #alone(): Source {
    return new Feed(this.#following.log, this.#next_leaf, this.#source_handlers());
  }

  #shared(): Source | null {
    if (typeof SharedWorker === "undefined") return null;
    let worker: SharedWorker;
    try {
      worker = new SharedWorker(new URL("./feed.worker.ts", import.meta.url), { type: "module", name: "sealwire-feed" });
    } catch {
      // A browser that is set to store nothing may refuse.
      return null;
    }
    const shared = new SharedFeed(worker.port, this.#following, () => this.#next_leaf, this.#source_handlers(), () => {
      if (this.#by !== shared) return;
      this.#by = this.#alone();
      this.#by.open();
    });
    worker.onerror = () => shared.give_up();
    return shared;
  }
}

/** The window's side of the shared worker. */
class SharedFeed implements Source {
  readonly #port: MessagePort;
  readonly #following: Following;
  readonly #next_leaf: () => number;
  readonly #handlers: SourceHandlers;
  readonly #failed: () => void;
  #here: ReturnType<typeof setInterval> | undefined;
  #silent: ReturnType<typeof setTimeout> | undefined;
  #given_up = false;
  /** Sent only once: later the window continues from its own position. */
  #anew: boolean;

  constructor(port: MessagePort, following: Following, next_leaf: () => number, handlers: SourceHandlers, failed: () => void) {
    this.#port = port;
    this.#following = following;
    this.#anew = following.anew;
    this.#next_leaf = next_leaf;
    this.#handlers = handlers;
    this.#failed = failed;
    port.onmessage = ({ data }: MessageEvent<FromHub>) => this.#hear(data);
    addEventListener("pagehide", () => this.#leave());
  }

  open(): void {
    if (this.#given_up) return;
    this.#handlers.state({ is: "connecting" });
    clearInterval(this.#here);
    this.#here = setInterval(() => this.#follow(), HERE_PERIOD_MS);
    this.#follow();
  }

  pause(): void {
    this.#leave();
    this.#handlers.state({ is: "paused" });
  }

  /** The worker does not answer: from now on the window uses its own feed, if it is to follow. */
  give_up(): void {
    if (this.#given_up) return;
    this.#given_up = true;
    const followed = this.#here !== undefined;
    this.#leave();
    if (followed) this.#failed();
  }

  #follow(): void {
    const { log } = this.#following;
    this.#post({ is: "follow", log, from: this.#next_leaf(), anew: this.#anew });
    this.#anew = false;
    clearTimeout(this.#silent);
    this.#silent = setTimeout(() => this.give_up(), WORKER_TIMEOUT_MS);
  }

  #leave(): void {
    clearInterval(this.#here);
    clearTimeout(this.#silent);
    this.#here = undefined;
    this.#post({ is: "leave" });
  }

  #post(message: ToHub): void {
    this.#port.postMessage(message);
  }

  #hear(message: FromHub): void {
    clearTimeout(this.#silent);
    // This message was on its way when the window left.
    if (this.#here === undefined) return;
    if (message.is === "sealed") for (const [leaf, data] of message.events) this.#handlers.sealed(leaf, data);
    else if (message.is === "missed") this.#handlers.missed(message.from, message.to);
    else this.#handlers.state(message.state);
  }
}
