// Gathers what arrives between two frames and hands it over once, however many thousand events a second there are.

/** Calls back once, soon, and never before it has returned: `requestAnimationFrame` in the page. */
export type Schedule = (run: () => void) => void;

export class Batch<Item> {
  readonly #limit: number;
  readonly #schedule: Schedule;
  readonly #flush: (items: Item[]) => void;
  readonly #overflow: () => void;
  #items: Item[] = [];
  #scheduled = false;
  #overflowed = false;

  /** More than `limit` items in one frame are dropped whole and `overflow` is called instead: to fetch the present is cheaper than to replay the past. */
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
