// Bounds lists that would otherwise grow for as long as the page is open.

/** Appends `items` in place and removes the oldest, so that at most `limit` remain. */
export function appendBounded<Item>(list: Item[], items: readonly Item[], limit: number): void {
  list.push(...items.slice(-limit));
  if (list.length > limit) list.splice(0, list.length - limit);
}

/** Events per second over the last `window_ms`, counted in one slot for each second. */
export class Rate {
  readonly #window_ms: number;
  #slots = new Map<number, number>();
  #started_ms: number | null = null;

  constructor(window_ms: number) {
    this.#window_ms = window_ms;
  }

  add(count: number, now_ms: number): void {
    this.#started_ms ??= now_ms;
    const slot = Math.floor(now_ms / 1000);
    this.#slots.set(slot, (this.#slots.get(slot) ?? 0) + count);
    for (const old of this.#slots.keys()) {
      if (old < slot - this.#window_ms / 1000) this.#slots.delete(old);
    }
  }

  /**
   * Null before the first full second. Counts full seconds only, because the current one would
   * lower the rate.
   */
  per_second(now_ms: number): number | null {
    if (this.#started_ms === null) return null;
    const to = Math.floor(now_ms / 1000);
    const from = Math.max(to - this.#window_ms / 1000, Math.floor(this.#started_ms / 1000) + 1);
    if (to <= from) return null;
    let count = 0;
    for (const [slot, counted] of this.#slots) if (slot >= from && slot < to) count += counted;
    return count / (to - from);
  }

  /** Forgets everything: during a pause this page was silent, not the site. */
  reset(): void {
    this.#slots.clear();
    this.#started_ms = null;
  }
}
