// The span of time that a plot shows, and its labels, in the reader's time zone.

/** Seconds since 1970; the second value is later than the first. */
export type Stretch = [from_s: number, to_s: number];

export type TimeTick = { at_s: number; label: string };

/**
 * Shortest span of a zoom. A closer view shows nothing, because readings have times in milliseconds
 * here.
 */
const ZOOM_MIN_S = 0.02;

/**
 * The span that was asked for, up to now, whether or not there are readings in all of it. It
 * includes readings dated later than now.
 */
export function stretchOf(times_s: readonly number[], window_ms: number, now_ms: number): Stretch {
  const now_s = now_ms / 1000;
  return [now_s - window_ms / 1000, Math.max(now_s, times_s.at(-1) ?? now_s)];
}

/** A span chosen by dragging, widened to the shortest span of a zoom if needed. */
export function zoomed(from_s: number, to_s: number): Stretch {
  const room_s = Math.max(0, ZOOM_MIN_S - (to_s - from_s)) / 2;
  return [from_s - room_s, to_s + room_s];
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const MONTH_MS = 30.4375 * DAY_MS;

/** `count` milliseconds, days or months. */
type Step = { of: "ms" | "day" | "month"; count: number; long_ms: number };

/** Steps of clock and calendar, with the approximate length of each. */
const STEPS: readonly Step[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND_MS),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE_MS),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR_MS),
]
  .map((count): Step => ({ of: "ms", count, long_ms: count }))
  .concat([1, 2, 5, 10].map((count) => ({ of: "day", count, long_ms: count * DAY_MS })))
  .concat([1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1_200, 2_400, 6_000, 12_000, 24_000, 60_000].map((count) => ({ of: "month", count, long_ms: count * MONTH_MS })));

/**
 * Round times within the stretch: at most `count_max` (3 or more), or one or two more because
 * months are uneven. No two labels are equal.
 */
export function timeTicksOf([from_s, to_s]: Stretch, count_max: number, now_ms: number): TimeTick[] {
  const [from_ms, to_ms] = [from_s * 1000, to_s * 1000];
  const step = STEPS.find(({ long_ms }) => (to_ms - from_ms) / long_ms <= count_max) ?? STEPS.at(-1)!;
  const times = roundTimes(from_ms, to_ms, step);
  const labels = times.map((at) => labelOf(at, step));
  // A time of day is enough only today, and a date without its year only this year.
  const of_now = step.of === "ms" ? dayOf : step.of === "day" ? yearOf : () => "";
  const more = times.every((at) => of_now(at) === of_now(new Date(now_ms))) ? () => "" : (at: Date) => `\n${of_now(at)}`;
  const longer = labels.map((label, at) => label + more(times[at]!));
  // Once a year, a clock shows the same hour twice.
  const twice = new Set(longer).size < longer.length;
  return times.map((at, n) => ({ at_s: at.getTime() / 1000, label: twice ? `${longer[n]}\nUTC${offsetOf(at)}` : longer[n]! }));
}

/** Multiples of a step by the reader's clock and calendar. */
function roundTimes(from_ms: number, to_ms: number, { of, count }: Step): Date[] {
  const from = new Date(from_ms);
  const [year, month, day] = [from.getFullYear(), from.getMonth(), from.getDate()];
  const ahead_ms = -from.getTimezoneOffset() * MINUTE_MS;
  const [first, nth] = {
    ms: [Math.floor((from_ms + ahead_ms) / count), (n: number) => new Date(n * count - ahead_ms)],
    day: [Math.floor(Date.UTC(year, month, day) / DAY_MS / count), (n: number) => new Date(1970, 0, 1 + n * count)],
    month: [Math.floor((year * 12 + month) / count), (n: number) => new Date(Math.floor((n * count) / 12), (n * count) % 12, 1)],
  }[of] as [number, (n: number) => Date];
  const times: Date[] = [];
  for (let n = first; ; n++) {
    const at = nth(n);
    // There are no times beyond the last possible date.
    if (!(at.getTime() <= to_ms)) return times;
    if (at.getTime() >= from_ms) times.push(at);
  }
}

const twoDigits = (number: number): string => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const yearOf = (at: Date): string => String(at.getFullYear());
const dayOfYear = (at: Date): string => `${at.getDate()} ${MONTHS[at.getMonth()]}`;
const dayOf = (at: Date): string => `${dayOfYear(at)} ${yearOf(at)}`;

function labelOf(at: Date, { of, count }: Step): string {
  if (of === "day") return dayOfYear(at);
  if (of === "month") return count % 12 === 0 ? yearOf(at) : `${MONTHS[at.getMonth()]} ${yearOf(at)}`;
  const minutes = `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`;
  if (count >= MINUTE_MS) return minutes;
  const seconds = `${minutes}:${twoDigits(at.getSeconds())}`;
  if (count >= SECOND_MS) return seconds;
  const digits = count % 100 === 0 ? 1 : count % 10 === 0 ? 2 : 3;
  return `${seconds}.${String(at.getMilliseconds()).padStart(3, "0").slice(0, digits)}`;
}

function offsetOf(at: Date): string {
  const ahead = -at.getTimezoneOffset();
  return `${ahead < 0 ? "-" : "+"}${twoDigits(Math.floor(Math.abs(ahead) / 60))}:${twoDigits(Math.abs(ahead) % 60)}`;
}
