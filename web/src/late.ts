// What the page says while a site cannot do all that it is asked for: a part of it follows the log
// too late, or sensors are polled less often than they ask. Sealing never waits for such a part, so
// nothing else on the page shows it.

import type { FollowerLag } from "./api.ts";
import { formatCount } from "./format.ts";

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
