// Everything that the page knows of the site: fetched once, then updated by the live feed.
//
// The gateway needs a new instance for every request. The feed comes from the site itself and
// reports everything as it happens. So the page asks the gateway rarely, never while hidden, and
// relies on the feed.

import { fetchSite, logUrl, ownFields, reason, type Sealed, type SiteAnswer } from "./api.ts";
import { Batch } from "./batch.ts";
import { appendBounded, Rate } from "./bounded.ts";
import { changesFleet, isFailure, isReading } from "./event.ts";
import { LiveFeed, type FeedState } from "./live.ts";
import { route } from "./route.svelte.ts";
import { SensorList, type Sensor } from "./sensors.svelte.ts";
import { fetchKeys } from "./verify/keys.ts";
import { sha256Hex } from "./verify/sha256.ts";
import { TrustBook, type Pin, type Trust } from "./verify/trust.ts";

/** Period for fetching the counters and, while the feed is down, the fleet. */
const SITE_PERIOD_MS = 5_000;
/** The index follows the log, so wait a moment for an answer that includes the event. */
const FLEET_DELAY_MS = 1_000;
/** Least time between two fetches, however often sensors come and go. */
const FLEET_SPACING_MS = 5_000;
/** Greatest time between two fetches: a sensor that is not seen may recover in silence. */
const FLEET_PERIOD_MS = 30_000;
/**
 * The feed starts this many leaves back, to include those sealed between the answers for fleet and
 * site.
 */
const FEED_OVERLAP_LEAVES = 100;
/**
 * Events of one frame at some 60,000 events a second. A page that falls further behind fetches
 * instead.
 */
const FRAME_EVENTS_MAX = 1_000;
/** Kept for the log view, so that it has no gap between its search and the feed. */
const LATEST_MAX = 500;
const RATE_WINDOW_MS = 10_000;

export type SiteListener = {
  /** Events in the log's order, once a frame. */
  sealed(events: readonly Sealed[]): void;
  /** Leaves were left out: fetch again whatever must be complete. */
  missed(): void;
};

class Site {
  answer = $state.raw<SiteAnswer | null>(null);
  answer_error = $state<string | null>(null);
  readonly sensors = new SensorList(() => this.log);
  feed = $state.raw<FeedState>({ is: "connecting" });
  trust = $state.raw<Trust | null>(null);
  /** Set once the log has fewer leaves than before, for as long as the page is open. */
  shortened = $state.raw<{ from: number; to: number } | null>(null);
  leaves = $state(0);
  readings_per_second = $state<number | null>(null);
  /** Ticks every second while the page is visible. */
  now_ms = $state(Date.now());

  /** The log that the address names; null is the site's own. */
  #asked = $state<string | null>(route.now.log);

  /** The newest events, oldest first. Not reactive: listeners receive each event. */
  readonly latest: Sealed[] = [];

  #listeners = new Set<SiteListener>();
  #feed: LiveFeed | null = null;
  #rate = new Rate(RATE_WINDOW_MS);
  #batch = new Batch<Sealed>(
    FRAME_EVENTS_MAX,
    (run) => requestAnimationFrame(run),
    (events) => this.#apply(events),
    () => this.#missed(),
  );
  #following: Promise<void> | null = null;
  #trust_book = new TrustBook(browserStore(), location.origin + location.pathname);
  #fleet_timer: ReturnType<typeof setTimeout> | undefined;
  #fleet_fetched_ms = 0;
  #asking_site = false;

  start(): void {
    void this.refresh();
    setInterval(() => !document.hidden && this.#tick(), 1_000);
    setInterval(() => !document.hidden && void this.#poll(), SITE_PERIOD_MS);
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  /** LogId of the log that the page shows; null while only the site knows it. */
  get log(): string | null {
    return this.answer?.log ?? this.#asked;
  }

  /** Shows the log that the address names; null is the site's own. */
  turnTo(log: string | null): void {
    if (log === this.#asked) return;
    this.#asked = log;
    if (log !== null && this.answer !== null && this.answer.log !== log) {
      [this.answer, this.trust, this.shortened] = [null, null, null];
      this.#feed?.pause();
      this.#feed = null;
      this.#forget();
    }
    void this.refresh();
  }

  listen(listener: SiteListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  sensor(id: string): Sensor | undefined {
    return this.sensors.sensor(id);
  }

  async refresh(): Promise<void> {
    await Promise.all([this.#refreshSite(), this.#refreshFleet()]);
  }

  /**
   * Accepts an offered key at a person's request, when the address shows another log or the log
   * does not lead on from its key.
   */
  accept(offered: Pin): void {
    this.trust = this.#trust_book.accept(offered);
  }

  /** Asks the log which keys have signed it. Callers in the meantime wait for the same answer. */
  followKeys(): Promise<void> {
    this.#following ??= this.#askForKeys().finally(() => (this.#following = null));
    return this.#following;
  }

  async #askForKeys(): Promise<void> {
    const named = this.answer?.vkey;
    try {
      if (this.answer === null) throw new Error("The site has not answered.");
      const keys = await fetchKeys(logUrl(this.answer.log));
      if (sha256Hex(keys[0].vkey) !== this.answer.log) throw new Error("The keys are those of another log than the site names.");
      if (!keys.some(({ vkey }) => vkey === named)) throw new Error("The site names a key that its log never had.");
      this.trust = this.#trust_book.meet(keys, new Date());
    } catch (error) {
      this.trust = { is: "unproved", pin: this.#trust_book.pin(), why: reason(error) };
    }
  }

  async #meet({ vkey }: SiteAnswer): Promise<void> {
    const pin = this.#trust_book.pin();
    // Ask the log only if there is something to learn.
    if (pin !== null && pin.log !== null && pin.key.vkey === vkey) this.trust = { is: "same", pin };
    else await this.followKeys();
  }

  async #refreshSite(): Promise<void> {
    // One request at a time: an older answer that arrives second would look like a log that shrank.
    if (this.#asking_site) return;
    this.#asking_site = true;
    const asked = this.#asked;
    try {
      const answer = await fetchSite(asked);
      // Meanwhile the address may have changed.
      if (asked !== this.#asked) return;
      const previous = this.answer;
      this.answer = answer;
      this.answer_error = null;
      const shorter = previous?.vkey === answer.vkey && answer.leaves < previous.leaves;
      if (shorter) this.shortened = { from: previous.leaves, to: answer.leaves };
      const other = previous !== null && (shorter || previous.vkey !== answer.vkey);
      if (other) this.#forget();
      if (other || previous === null) this.#enter(answer, other);
      this.leaves = Math.max(this.leaves, answer.leaves);
    } catch (error) {
      this.answer_error = reason(error);
    } finally {
      this.#asking_site = false;
      if (asked !== this.#asked) void this.#refreshSite();
    }
  }

  /** Leaf numbers of another log mean nothing in this one. */
  #forget(): void {
    this.sensors.forget();
    this.latest.length = 0;
    this.#rate.reset();
    void this.#refreshFleet();
    for (const listener of this.#listeners) listener.missed();
  }

  /** Enters a log for the first time, or another log at the same address. */
  #enter(answer: SiteAnswer, anew: boolean): void {
    const { log, leaves } = answer;
    void this.#meet(answer);
    this.leaves = leaves;
    this.#feed?.pause();
    const following = { log, from: Math.max(0, leaves - FEED_OVERLAP_LEAVES), anew };
    this.#feed = new LiveFeed(following, {
      sealed: (event) => this.#batch.push(event),
      missed: () => this.#missed(),
      state: (state) => (this.feed = state),
    });
    if (!document.hidden) this.#feed.open();
  }

  async #refreshFleet(): Promise<void> {
    this.#fleet_fetched_ms = Date.now();
    await this.sensors.refresh();
  }

  #refreshFleetSoon(): void {
    if (this.#fleet_timer !== undefined) return;
    const spaced_ms = this.#fleet_fetched_ms + FLEET_SPACING_MS - Date.now();
    this.#fleet_timer = setTimeout(
      () => {
        this.#fleet_timer = undefined;
        void this.#refreshFleet();
      },
      Math.max(FLEET_DELAY_MS, spaced_ms),
    );
  }

  #apply(events: readonly Sealed[]): void {
    const newest = events.at(-1);
    if (newest === undefined) return;
    this.leaves = Math.max(this.leaves, newest.leaf + 1);
    appendBounded(this.latest, events, LATEST_MAX);

    const by_sensor = new Map<string, Sealed[]>();
    let readings = 0;
    for (const sealed of events) {
      const { event } = sealed.envelope;
      if (isReading(sealed.envelope)) readings += 1;
      const id = ownFields(sealed.envelope)?.sensor;
      if (id === undefined) continue;
      // Of a sensor that is not seen, the page cannot say what a failure changes.
      const is_known = this.sensors.sensor(id) !== undefined;
      if (changesFleet(event) || (!is_known && (isFailure(event.status) || this.sensors.isWhole))) this.#refreshFleetSoon();
      const own = by_sensor.get(id);
      if (own) own.push(sealed);
      else by_sensor.set(id, [sealed]);
    }
    for (const [id, own] of by_sensor) {
      if (this.sensors.apply(id, own)) this.#refreshFleetSoon();
    }
    this.#rate.add(readings, Date.now());
    for (const listener of this.#listeners) listener.sealed(events);
    // After the microtask in which Svelte updates the DOM. Measurements of the page's delay listen
    // for this event.
    setTimeout(() => dispatchEvent(new CustomEvent("sealwire:applied", { detail: events })));
  }

  #missed(): void {
    this.#rate.reset();
    this.#refreshFleetSoon();
    for (const listener of this.#listeners) listener.missed();
  }

  #tick(): void {
    this.now_ms = Date.now();
    this.readings_per_second = this.feed.is === "live" ? this.#rate.per_second(this.now_ms) : null;
  }

  async #poll(): Promise<void> {
    await this.#refreshSite();
    if (this.trust?.is === "unproved") await this.followKeys();
    const is_old = Date.now() - this.#fleet_fetched_ms >= FLEET_PERIOD_MS;
    if (this.feed.is !== "live" || this.sensors.totals === null || is_old) await this.#refreshFleet();
  }

  #visibility(): void {
    if (document.hidden) {
      this.#feed?.pause();
      return;
    }
    this.#rate.reset();
    this.#tick();
    this.#feed?.open();
    void this.refresh();
  }
}

/** Null if the browser refuses storage: even reading the property may throw. */
function browserStore(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

export const site = new Site();
