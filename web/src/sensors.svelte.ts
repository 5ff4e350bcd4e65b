// The list of sensors, of which the page holds only what is seen of it.
//
// The API filters, orders and counts. The page asks for the rows that a person looks at, and again
// when the fleet may have changed. Rows are known by their numbers in the list.

import { fetchSensors, reason, SENSORS_LIMIT_MAX, type Sealed, type SensorAnswer, type SensorsAnswer, type SensorTotals, type Location } from "./api.ts";
import { needsAttention, refetched, withEvents, type FleetFilter } from "./fleet.ts";

/** Rows are fetched in blocks of this many. */
const BLOCK = 50;
/** A list of at most this many rows is fetched and drawn whole, so that a browser can search and print it. */
export const WHOLE_MAX = 2 * BLOCK;
/** Blocks that are kept, including those seen last. */
const BLOCKS_MAX = 40;
/** Rows of one request, and so the most that a screen shows at once. */
const SEEN_MAX = SENSORS_LIMIT_MAX;
/** A person who types asks once, after a pause. */
const TYPING_MS = 150;

/** A row of the list. Each sensor has its own object, so that a reading redraws one row. */
export class Sensor {
  readonly id: string;
  shown = $state.raw() as SensorAnswer;

  constructor(answer: SensorAnswer) {
    this.id = answer.id;
    this.shown = answer;
  }
}

/** Rows of the list by number; `end` is the first that does not belong to it. */
type Span = { first: number; end: number };

export class SensorList {
  /** Numbers of the whole fleet; null until the site answers. */
  totals = $state.raw<SensorTotals | null>(null);
  /** All locations, and how many sensors of each the list has. */
  locations = $state.raw<readonly Location[]>([]);
  /** Number of sensors in the list. */
  found = $state(0);
  error = $state<string | null>(null);
  /** Kept while other views are shown, so that Back finds the list as it was. */
  filter = $state<FleetFilter>({ text: "", location: "", attention: false });
  /** The row that has the keyboard's focus, or had it when another view was opened. */
  active = $state.raw<{ index: number; id: string | null } | null>(null);

  readonly #log: () => string | null;
  /** Blocks by number, those seen last at the end. */
  #blocks = new Map<number, readonly Sensor[]>();
  #by_id = new Map<string, Sensor>();
  /** Increases whenever a row or the map of ids changes. */
  #changes = $state(0);
  #seen: Span = { first: 0, end: WHOLE_MAX };
  /** The sensor of a view of its own. */
  #opened: string | null = null;
  /** The last such sensor about which the site has answered, whether it knows the sensor or not. */
  #answered = $state<string | null>(null);
  #is_listed = false;
  #is_stale = false;
  /** Answers to earlier questions than this one are out of date. */
  #asked = 0;
  /** What the list is filtered by, while a person may be typing the next filter. */
  #asked_for: FleetFilter = { text: "", location: "", attention: false };
  #fetching = false;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(log: () => string | null) {
    this.#log = log;
  }

  /** The sensor of a row; undefined until it is fetched. */
  row(index: number): Sensor | undefined {
    void this.#changes;
    return this.#blocks.get(Math.floor(index / BLOCK))?.[index % BLOCK];
  }

  sensor(id: string): Sensor | undefined {
    void this.#changes;
    return this.#by_id.get(id);
  }

  /**
   * Whether the page knows what it shows of the sensor of a view of its own: its name, or that it
   * has none.
   */
  isAnswered(id: string): boolean {
    return this.#answered === id || this.sensor(id) !== undefined;
  }

  /** Number of a sensor's row; null if the page does not hold it. */
  indexOf(id: string): number | null {
    for (const [block, rows] of this.#blocks) {
      const at = rows.findIndex((sensor) => sensor.id === id);
      if (at >= 0) return block * BLOCK + at;
    }
    return null;
  }

  /** Whether the page holds every sensor of the fleet. */
  get isWhole(): boolean {
    return this.totals !== null && this.#by_id.size >= this.totals.sensors;
  }

  /** The list is on the screen until the returned function is called. */
  list(): () => void {
    this.#is_listed = true;
    if (this.#is_stale) void this.refresh();
    return () => {
      this.#is_listed = false;
    };
  }

  /** A sensor has a view of its own until the returned function is called. */
  open(id: string): () => void {
    this.#opened = id;
    void this.#fetchOpened();
    return () => {
      if (this.#opened === id) this.#opened = null;
    };
  }

  /** The rows that are on the screen. Those that are missing are fetched. */
  see(first: number, end: number): void {
    this.#seen = { first, end: Math.min(end, first + SEEN_MAX) };
    for (const block of this.#blocksOf(this.#seen)) {
      const rows = this.#blocks.get(block);
      if (rows === undefined) continue;
      this.#blocks.delete(block);
      this.#blocks.set(block, rows);
    }
    void this.#fetchMissing();
  }

  /** Asks for the list that the filter describes, if it is another than before. */
  filtered(): void {
    clearTimeout(this.#typing);
    if (JSON.stringify(this.filter) === JSON.stringify(this.#asked_for)) return;
    this.#typing = setTimeout(() => {
      this.active = null;
      this.#seen = { first: 0, end: WHOLE_MAX };
      void this.refresh();
    }, TYPING_MS);
  }

  /** Forgets everything, because the log is another one. */
  forget(): void {
    this.#asked += 1;
    [this.totals, this.locations, this.found, this.active] = [null, [], 0, null];
    this.#blocks = new Map();
    this.#by_id = new Map();
    this.#answered = null;
    this.#seen = { first: 0, end: WHOLE_MAX };
    this.#changes += 1;
  }

  /** Fetches again what is seen. */
  async refresh(): Promise<void> {
    const opened = this.#fetchOpened();
    this.#is_stale = !this.#is_listed && this.totals !== null;
    if (!this.#is_stale) await this.#fetchList();
    await opened;
  }

  /** Applies events of one sensor, oldest first. Returns whether the fleet's numbers changed. */
  apply(id: string, events: readonly Sealed[]): boolean {
    const sensor = this.#by_id.get(id);
    if (sensor === undefined) return false;
    const needed = needsAttention(sensor.shown);
    sensor.shown = withEvents(sensor.shown, events);
    return needed !== needsAttention(sensor.shown);
  }

  async #fetchList(): Promise<void> {
    const asked = ++this.#asked;
    const { text, location, attention } = this.filter;
    this.#asked_for = { text, location, attention };
    const log = this.#log();
    try {
      const blocks = this.#blocksOf(this.#seen, Infinity);
      const answer = await this.#fetch(blocks, true);
      // Without a log, the question was about the site's own, which has a name by now.
      if (asked !== this.#asked || (log !== null && log !== this.#log())) return;
      [this.totals, this.locations, this.found] = [answer.totals, answer.locations ?? [], answer.found];
      // Other rows may have moved.
      const former = this.#by_id;
      this.#blocks = new Map();
      this.#hold(blocks, answer, former);
      this.error = null;
    } catch (error) {
      if (asked === this.#asked) this.error = reason(error);
    }
    void this.#fetchMissing();
  }

  async #fetchMissing(): Promise<void> {
    // One request at a time: whoever scrolls fast sees the rows where they stop, and soon.
    if (this.#fetching) return;
    this.#fetching = true;
    try {
      for (;;) {
        const missing = this.#blocksOf(this.#seen).filter((block) => !this.#blocks.has(block));
        if (missing.length === 0) break;
        const asked = this.#asked;
        const answer = await this.#fetch(missing, false);
        if (asked === this.#asked) this.#hold(missing, answer, this.#by_id);
      }
      this.error = null;
    } catch (error) {
      this.error = reason(error);
    } finally {
      this.#fetching = false;
    }
  }

  async #fetchOpened(): Promise<void> {
    const id = this.#opened;
    if (id === null) return;
    try {
      const { sensors } = await fetchSensors(this.#log(), { id });
      const answer = sensors.find((sensor) => sensor.id === id);
      if (id !== this.#opened) return;
      this.#answered = id;
      if (answer === undefined) return;
      this.#by_id.set(id, this.#moved(answer, this.#by_id));
      this.#changes += 1;
    } catch (error) {
      this.error = reason(error);
    }
  }

  /** Asks for all rows from the first of these blocks to the last. */
  #fetch(blocks: readonly number[], locations: boolean): Promise<SensorsAnswer> {
    const first = blocks[0] ?? 0;
    const limit = Math.min(SEEN_MAX, ((blocks.at(-1) ?? 0) - first + 1) * BLOCK);
    const { text, location, attention } = this.#asked_for;
    return fetchSensors(this.#log(), {
      ...(text.trim() !== "" && { text: text.trim() }),
      ...(location !== "" && { location }),
      ...(attention && { attention }),
      ...(locations && { locations }),
      offset: first * BLOCK,
      limit,
    });
  }

  #hold(blocks: readonly number[], { sensors, found }: SensorsAnswer, former: ReadonlyMap<string, Sensor>): void {
    const first = blocks[0] ?? 0;
    for (let block = first; block <= (blocks.at(-1) ?? 0); block++) {
      const at = (block - first) * BLOCK;
      const rows = sensors.slice(at, at + BLOCK).map((answer) => this.#moved(answer, former));
      this.#blocks.delete(block);
      // A block beyond the end is complete, though it is empty.
      if (rows.length > 0 || block * BLOCK >= found) this.#blocks.set(block, rows);
    }
    for (const block of this.#blocks.keys()) {
      if (this.#blocks.size <= BLOCKS_MAX) break;
      this.#blocks.delete(block);
    }
    const opened = this.#opened === null ? undefined : this.#by_id.get(this.#opened);
    this.#by_id = new Map([...this.#blocks.values()].flat().map((sensor) => [sensor.id, sensor]));
    if (opened) this.#by_id.set(opened.id, opened);
    this.#changes += 1;
  }

  #moved(answer: SensorAnswer, former: ReadonlyMap<string, Sensor>): Sensor {
    const known = former.get(answer.id);
    if (known === undefined) return new Sensor(answer);
    known.shown = refetched(known.shown, answer);
    return known;
  }

  #blocksOf({ first, end }: Span, found = this.found): number[] {
    const [from, to] = [Math.floor(first / BLOCK), Math.ceil(Math.min(end, found) / BLOCK)];
    return Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at);
  }
}
