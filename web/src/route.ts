// Routes are in the hash, so that the server returns the same file for every address.

export type Route = { is: "fleet" } | { is: "sensor"; id: string } | { is: "log" } | { is: "unknown" };

export function parseRoute(hash: string): Route {
  const [name = "", ...rest] = hash.replace(/^#?\/?/, "").split("/");
  const id = rest.join("/");
  if (name === "" && id === "") return { is: "fleet" };
  if (name === "log" && id === "") return { is: "log" };
  if (name === "sensor" && id !== "") {
    try {
      return { is: "sensor", id: decodeURIComponent(id) };
    } catch {
      return { is: "unknown" };
    }
  }
  return { is: "unknown" };
}

/** Half a surrogate pair cannot be encoded. No sensor has such an id. */
export const sensorHref = (id: string): string => `#/sensor/${encodeURIComponent(id.replace(/\p{Cs}/gu, "\ufffd"))}`;
