// Where the rows of a long list are: sensors grouped by location, in lines of one or more columns.
//
// Every line has the same height, so a position follows from a number without drawing anything, and
// a person can scroll anywhere at once. Libraries for long lists measure what they draw, and know
// neither groups nor columns. Uses no DOM.

/** Sensors of one location: how many there are in the list. */
export type Group = { location: string; found: number };

export type Metrics = {
  /** Sensors beside each other. */
  columns: number;
  /** Height of a line. */
  line_px: number;
  /** Height of a group's heading. */
  heading_px: number;
  /** Space below a group. */
  gap_px: number;
};

/** A group in its place. `first` is the number of its first sensor in the whole list. */
export type Placed = { location: string; first: number; count: number; top_px: number; height_px: number };

/** Some sensors of a group, by their numbers in the whole list. */
export type Part = { group: Placed; rows: number[] };

export class Lines {
  readonly groups: readonly Placed[];
  readonly metrics: Metrics;
  readonly count: number;
  readonly height_px: number;

  constructor(groups: readonly Group[], metrics: Metrics) {
    const placed: Placed[] = [];
    let [first, top_px] = [0, 0];
    for (const { location, found: count } of groups) {
      if (count === 0) continue;
      const height_px = metrics.heading_px + Math.ceil(count / metrics.columns) * metrics.line_px;
      placed.push({ location, first, count, top_px, height_px });
      first += count;
      top_px += height_px + metrics.gap_px;
    }
    [this.groups, this.metrics, this.count, this.height_px] = [placed, metrics, first, top_px];
  }

  /** Group and line of a sensor, and its place in the line. */
  at(index: number): { group: number; line: number; column: number } {
    const group = last(this.groups, ({ first }) => first <= index);
    const within = index - this.groups[group]!.first;
    const { columns } = this.metrics;
    return { group, line: Math.floor(within / columns), column: within % columns };
  }

  top_px(index: number): number {
    const { group, line } = this.at(index);
    return this.groups[group]!.top_px + this.metrics.heading_px + line * this.metrics.line_px;
  }

  /** What lies between two heights, and also the sensor with the number `kept`, in order. */
  between(from_px: number, to_px: number, kept: number | null = null): Part[] {
    const { columns, heading_px, line_px } = this.metrics;
    const parts: Part[] = [];
    const begin = Math.max(0, last(this.groups, ({ top_px }) => top_px <= from_px));
    for (const group of this.groups.slice(begin)) {
      if (group.top_px >= to_px) break;
      if (group.top_px + group.height_px <= from_px) continue;
      const line = (at_px: number): number => (at_px - group.top_px - heading_px) / line_px;
      const first = Math.max(0, Math.floor(line(from_px))) * columns;
      const end = Math.min(group.count, Math.ceil(line(to_px)) * columns);
      parts.push({ group, rows: Array.from({ length: Math.max(0, end - first) }, (_, at) => group.first + first + at) });
    }
    if (kept === null || kept >= this.count || parts.some(({ rows }) => rows.includes(kept))) return parts;
    const group = this.groups[this.at(kept).group]!;
    const part = parts.find((part) => part.group === group);
    if (part) part.rows = [...part.rows, kept].sort((a, b) => a - b);
    else parts.push({ group, rows: [kept] });
    return parts.sort((a, b) => a.group.first - b.group.first);
  }

  /** The sensor to which a key leads from another; null if the key leads nowhere. */
  after(key: string, index: number, page_px: number): number | null {
    switch (key) {
      case "Home":
        return 0;
      case "End":
        return this.count - 1;
      case "ArrowLeft":
        return Math.max(0, index - 1);
      case "ArrowRight":
        return Math.min(this.count - 1, index + 1);
      case "ArrowUp":
        return this.#line(index, -1);
      case "ArrowDown":
        return this.#line(index, 1);
      case "PageUp":
        return this.#page(index, -1, page_px);
      case "PageDown":
        return this.#page(index, 1, page_px);
      default:
        return null;
    }
  }

  /** The sensor above or below, in the same column where there is one. */
  #line(index: number, by: -1 | 1): number {
    const { columns } = this.metrics;
    const { group, line, column } = this.at(index);
    const lines = (at: number): number => Math.ceil(this.groups[at]!.count / columns);
    let [to_group, to_line] = [group, line + by];
    if (to_line < 0 || to_line >= lines(group)) {
      to_group += by;
      if (this.groups[to_group] === undefined) return index;
      to_line = by > 0 ? 0 : lines(to_group) - 1;
    }
    const { first, count } = this.groups[to_group]!;
    return first + Math.min(count - 1, to_line * columns + column);
  }

  #page(index: number, by: -1 | 1, page_px: number): number {
    const from_px = this.top_px(index);
    let to = index;
    for (;;) {
      const next = this.#line(to, by);
      if (next === to) return to;
      if (Math.abs(this.top_px(next) - from_px) > page_px) return to === index ? next : to;
      to = next;
    }
  }
}

/** Index of the last item that `is` true of; -1 if there is none. No item after a false one is true. */
function last<Item>(items: readonly Item[], is: (item: Item) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
