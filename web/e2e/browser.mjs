// What both scripts need: their options and a browser.

import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Options as text, with `defaults` for those that are not given. */
export function options(defaults) {
  const described = Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { type: "string", default: value }]));
  return parseArgs({ options: described }).values;
}

/** With further switches of Chromium's. */
export const launch = (args = []) => chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...ARGS, ...args] });
