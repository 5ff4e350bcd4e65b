// Routes are in the hash, so that the server returns the same file for every address.
//
// An address names its log: `#/logs/<LogId>/...`. Without a log it means the site's own.

export type Route = { log: string | null } & View;

type View = { is: "fleet" } | { is: "sensor"; id: string } | { is: "log" } | { is: "unknown" };

/** How a log is named: its LogId, 64 hex digits. */
const LOG = /^[0-9a-f]{64}$/;

export function parseRoute(hash: string): Route {
  const path = hash.replace(/^#?\/?/, "").split("/");
  if (path[0] !== "logs") return { log: null, ...parseView(path, ["log", "sensor"]) };
  const [, log = "", ...view] = path;
  if (!LOG.test(log)) return { log: null, is: "unknown" };
  return { log, ...parseView(view, ["events", "sensors"]) };
}

function parseView([name = "", ...rest]: string[], [events, sensors]: [string, string]): View {
  const id = rest.join("/");
  if (name === "" && id === "") return { is: "fleet" };
  if (name === events && id === "") return { is: "log" };
  if (name === sensors && id !== "") {
    try {
      return { is: "sensor", id: decodeURIComponent(id) };
    } catch {
      return { is: "unknown" };
    }
  }
  return { is: "unknown" };
}

/** Addresses of a log's views; null is the site's own log. */
export const fleetHref = (log: string | null): string => (log === null ? "#/" : `#/logs/${log}`);

export const eventsHref = (log: string | null): string => (log === null ? "#/log" : `#/logs/${log}/events`);

export const sensorHref = (log: string | null, id: string): string =>
  // Half a surrogate pair cannot be encoded. No sensor has such an id.
  `${log === null ? "#/sensor" : `#/logs/${log}/sensors`}/${encodeURIComponent(id.replace(/\p{Cs}/gu, "\ufffd"))}`;
