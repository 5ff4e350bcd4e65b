// The section of the number line that a plot shows, and its labels. For any finite numbers, the
// results are finite and readable.

/** From `low` at the bottom to `high` at the top. Both are finite, and `low < high`. */
export type Frame = { low: number; high: number };

export type Tick = { value: number; label: string };

/**
 * If labels would be too long, `base` stands beside the axis, and each label is the difference from
 * it.
 */
export type Ticks = { ticks: Tick[]; base: string | null };

/**
 * If numbers differ by less than a trillionth of their size, the difference is rounding, and there
 * is nothing to show between them.
 */
const NOISE = 2 ** -40;
/** Margin around a constant value, as a fraction of it. */
const ROOM = 0.12;
/** Smaller differences could not be divided further. No sensor measures so finely. */
const SPAN_MIN = 1e-300;
const MAX = Number.MAX_VALUE;

/**
 * The frame of these numbers, with a margin above and below as a fraction of their span. Null if
 * there is no number. Skips values that are not finite.
 */
export function frameOf(values: Iterable<number | null>, room: number): Frame | null {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return null;
  const magnitude = Math.max(Math.abs(low), Math.abs(high));
  // Halves, because the difference of two numbers may exceed the largest number.
  const half = high / 2 - low / 2;
  const around = half <= (magnitude / 2) * NOISE ? (magnitude || 1) * ROOM : half * room * 2;
  const margin = half + around < SPAN_MIN ? SPAN_MIN : around;
  return { low: Math.max(low - margin, -MAX), high: Math.min(high + margin, MAX) };
}

/** Position of a number in the frame: 0 at the bottom, 1 at the top. */
export const position = ({ low, high }: Frame, value: number): number => (value / 2 - low / 2) / (high / 2 - low / 2);

/** Most characters of a label; longer labels are replaced by shorter forms. */
export const LABEL_CHARS_MAX = 9;
const PLAIN_CHARS_MAX = 8;

/**
 * Round numbers within the frame: at least two and at most `count_max + 1`, where `count_max` is 5
 * or more. Each label equals its number exactly.
 */
export function ticksOf({ low, high }: Frame, count_max: number): Ticks {
  const [digit, exponent] = stepFor(((high / 2 - low / 2) / count_max) * 2);
  const step = decimal(digit, exponent);
  const [first, last] = [Math.ceil(low / step), Math.floor(high / step)];
  const counts = Array.from({ length: last - first + 1 }, (_, at) => (first + at) * digit);
  const inside = counts.filter((count) => within(decimal(count, exponent), low, high));
  const { labels, base } = labelled(inside, exponent);
  return { ticks: inside.map((count, at) => ({ value: decimal(count, exponent), label: labels[at] ?? "" })), base };
}

/** The smallest number of at least `least` that is 1, 2 or 5 times a power of ten. */
function stepFor(least: number): [digit: number, exponent: number] {
  const exponent = Math.floor(Math.log10(least));
  const digit = [1, 2, 5].find((digit) => decimal(digit, exponent) >= least);
  return digit === undefined ? [1, exponent + 1] : [digit, exponent];
}

const decimal = (count: number, exponent: number): number => Number(`${count}e${exponent}`);

const within = (value: number, low: number, high: number): boolean => value >= low && value <= high;

/**
 * Labels for multiples of one power of ten: written out, else with an exponent, else as differences
 * from the first.
 */
function labelled(counts: readonly number[], exponent: number): { labels: string[]; base: string | null } {
  const first = counts[0] ?? 0;
  const added = counts.map((count) => count - first);
  const plus = (label: string) => `+${label}`;
  for (const [labels, chars_max, base] of [
    [counts.map((count) => plain(count, exponent)), PLAIN_CHARS_MAX, null],
    [counts.map((count) => scientific(count, exponent)), LABEL_CHARS_MAX, null],
    [added.map((count) => plus(plain(count, exponent))), PLAIN_CHARS_MAX, scientific(first, exponent)],
  ] as [string[], number, string | null][]) {
    if (labels.every(({ length }) => length <= chars_max)) return { labels, base };
  }
  return { labels: added.map((count) => plus(scientific(count, exponent))), base: scientific(first, exponent) };
}

function plain(count: number, exponent: number): string {
  const digits = String(Math.abs(count));
  const sign = count < 0 ? "-" : "";
  if (exponent >= 0) return count === 0 ? "0" : sign + digits + "0".repeat(exponent);
  const padded = digits.padStart(1 - exponent, "0");
  return `${sign}${padded.slice(0, exponent)}.${padded.slice(exponent)}`;
}

function scientific(count: number, exponent: number): string {
  if (count === 0) return "0";
  const digits = String(Math.abs(count));
  const fraction = digits.slice(1).replace(/0+$/, "");
  return `${count < 0 ? "-" : ""}${digits[0]}${fraction === "" ? "" : `.${fraction}`}e${exponent + digits.length - 1}`;
}
