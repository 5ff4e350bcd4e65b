// Formats values and times. Times appear in the reader's time zone; the exact UTC text stays in
// `datetime` and `title`.

import { plainly } from "./said.ts";

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const formatCount = (count: number): string => grouped.format(count);

/** Below ten, a whole number would hide the difference between a quiet site and a dead one. */
export const formatRate = (per_second: number): string => (per_second < 10 ? per_second.toFixed(1) : grouped.format(per_second));

/**
 * `19:01:23`; with the date if it is not the day of `now_ms`, and with the year if it is another
 * year.
 */
export function formatTime(time: string | number, now_ms: number = Date.now()): string {
  const date = new Date(time);
  // A program may have sealed any text as its time.
  if (Number.isNaN(date.getTime())) return plainly(String(time));
  const today = date.toDateString() === new Date(now_ms).toDateString();
  if (today) return clock.format(date);
  const year = date.getFullYear() === new Date(now_ms).getFullYear() ? "" : ` ${date.getFullYear()}`;
  return `${day.format(date)}${year}, ${clock.format(date)}`;
}

export function formatAge(since_ms: number, now_ms: number): string {
  const seconds = Math.max(0, Math.round((now_ms - since_ms) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

/**
 * Shows values as sealed, because they are text in the log. Only the placeholder of a failed poll
 * becomes a dash.
 */
export const formatValue = (value: string): string => (value === "N/A" || value === "" ? "–" : value);

export function formatInterval(interval_ms: number): string {
  return interval_ms % 1000 === 0 ? `${interval_ms / 1000} s` : `${interval_ms} ms`;
}

export const formatRange = ([low, high]: [number, number]): string => `${low} to ${high}`;

/** Groups of eight hex digits are easy to compare by eye. */
export const inGroups = (hex: string): string => hex.match(/.{1,8}/g)?.join(" ") ?? "";
