// Collects what arrives between two frames and passes it on once, however many thousand events a
// second arrive.

/**
 * Runs a callback once, soon, and never before it returns itself: `requestAnimationFrame` in the
 * page.
 */
export type Schedule = (run: () => void) => void;

export class Batch<Item> {
  readonly #limit: number;
  readonly #schedule: Schedule;
  readonly #flush: (items: Item[]) => void;
  readonly #overflow: () => void;
  #items: Item[] = [];
  #scheduled = false;
  #overflowed = false;

  /**
   * If more than `limit` items arrive in one frame, drops them all and calls `overflow` instead:
   * fetching the present state is cheaper than replaying the past.
   */
  constructor(limit: number, schedule: Schedule, flush: (items: Item[]) => void, overflow: () => void) {
    this.#limit = limit;
    this.#schedule = schedule;
    this.#flush = flush;
    this.#overflow = overflow;
  }

  push(item: Item): void {
    if (this.#items.length < this.#limit) this.#items.push(item);
    else this.#overflowed = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => this.#run());
  }

  #run(): void {
    const items = this.#items;
    const overflowed = this.#overflowed;
    this.#items = [];
    this.#scheduled = false;
    this.#overflowed = false;
    if (overflowed) this.#overflow();
    else this.#flush(items);
  }
}
