// The current route.

import { parseRoute, type Route } from "./route.ts";

let current = $state.raw<Route>(parseRoute(location.hash));

addEventListener("hashchange", () => {
  current = parseRoute(location.hash);
});

export const route = {
  get now(): Route {
    return current;
  },
};
