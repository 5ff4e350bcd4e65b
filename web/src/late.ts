// What the page says while a site cannot do all that it is asked for: a part of it follows the log
// too late, sensors are polled less often than they ask, or its machine's clock cannot be right.
// Sealing never waits for such a part, so nothing else on the page shows it.

import type { ClockAnswer, FollowerLag, SensorClock } from "./api.ts";
import { formatCount, formatTime } from "./format.ts";
import { plainly } from "./said.ts";

type Notice = { title: string; detail: string };

const NOTICES: ReadonlyMap<string, Notice> = new Map([
  ["index", { title: "The index is late", detail: "Everything is sealed, but searches, plots and this list do not show the newest yet." }],
  ["pipeline", { title: "Readings are judged late", detail: "Everything is sealed, but what is out of range or lost shows only once it is judged." }],
]);

/** The notices for those of whom the site says that they are late. */
export function lateNotices(followers: readonly FollowerLag[]): Notice[] {
  return followers.flatMap(({ name, late, lag_leaves, lag_ms }) => {
    const notice = late ? NOTICES.get(name) : undefined;
    if (notice === undefined) return [];
    const behind = `${formatCount(lag_leaves)} leaves wait, the first for ${formatCount(Math.floor(lag_ms / 1000))} s.`;
    return [{ title: notice.title, detail: `${notice.detail} ${behind}` }];
  });
}

/** The notice that sensors are polled less often than they ask, if they are. */
export function stretchedNotices(shortest_interval_ms: number | null): Notice[] {
  if (shortest_interval_ms === null) return [];
  const interval = `${formatCount(shortest_interval_ms)} ms`;
  return [{ title: "Sensors are polled less often than they ask", detail: `No sensor is polled more often than every ${interval}. The log says since when, and how much sensors ask for.` }];
}

/** The notice that the clock of the site's machine is wrong, or that nobody sets it. */
export function clockNotices(clock: ClockAnswer | null): Notice[] {
  if (clock === null) return [];
  if (!clock.believed) {
    return [{ title: "The clock of the site's machine cannot be right", detail: "It was set by more than a day. Everything is sealed with its time, and plots go by the site's own time instead." }];
  }
  if (clock.synchronised === false) {
    return [{ title: "The clock of the site's machine is not synchronised", detail: `No time server sets it, says ${plainly(clock.source ?? "the machine")}. Times can be wrong.` }];
  }
  return [];
}

/** The state of the machine's clock in a few words. */
export function clockInWords({ synchronised, offset_ms, source, steps }: ClockAnswer): string {
  const known = { true: "synchronised", false: "not synchronised", null: "not known to be synchronised" } as const;
  const off = offset_ms === null ? "" : `, ${offset_ms.toFixed(3)} ms off`;
  const said = source === null ? "" : ` (${source})`;
  const set = steps === 0 ? "" : `; set ${formatCount(steps)} ${steps === 1 ? "time" : "times"} since the start`;
  return `${known[`${synchronised}`]}${off}${said}${set}`;
}

/** A sensor's clock in a few words. A sound one is behind by as long as an answer takes. */
export function sensorClockInWords({ offset_ms, started_at }: SensorClock): string {
  const runs = started_at === undefined ? "" : `running since ${formatTime(started_at)}`;
  if (offset_ms === undefined) return runs === "" ? "none" : `none; ${runs}`;
  const by = Math.abs(offset_ms) < 10_000 ? `${formatCount(Math.abs(offset_ms))} ms` : `${formatCount(Math.round(Math.abs(offset_ms) / 1000))} s`;
  return `${by} ${offset_ms > 0 ? "ahead of" : "behind"} the site${runs === "" ? "" : `; ${runs}`}`;
}
