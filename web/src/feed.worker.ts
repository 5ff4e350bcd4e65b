// The worker that all windows of the page share. It lives until the last window closes.

import { Feed } from "./feed.ts";
import { Hub, type ToHub } from "./hub.ts";

const hub = new Hub(
  (log, from, handlers) => new Feed(log, from, handlers),
  (run) => setTimeout(run),
);

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (port === undefined) return;
  port.onmessage = ({ data }: MessageEvent<ToHub>) => hub.hear(port, data, Date.now());
});
