// Routes live in the hash, so that every address is the same file to the server.

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

/** Half a pair cannot be encoded; a text that has one is of no sensor. */
export const sensorHref = (id: string): string => `#/sensor/${encodeURIComponent(id.replace(/\p{Cs}/gu, "\ufffd"))}`;
