// Shared by the scripts of this folder: options, a browser, and steps that are reported one by one.

import path from "node:path";
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

/** Starts a browser with further switches for Chromium. */
export const launch = (args = []) => chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...ARGS, ...args] });

let step = "start";

/** Runs one step, prints its name when it is done, and returns its result. */
export async function during(name, run) {
  step = name;
  const started_ms = performance.now();
  const answer = await run();
  console.log(`ok  ${name} (${Math.round(performance.now() - started_ms)} ms)`);
  return answer;
}

/**
 * Runs a whole script and ends its browser. At a failure it says in which step and, if there are `complaints`, what the console said; the last page is then
 * in `out`, if there is one. Exit code 1 on failure.
 */
export async function check(browser, { out, complaints = [] }, run) {
  try {
    await run();
  } catch (error) {
    console.error(`FAILED while checking: ${step}\n${error.message}`);
    if (complaints.length > 0) console.error(`The console said:\n  ${complaints.join("\n  ")}`);
    const last = out === undefined ? undefined : browser.contexts().at(-1)?.pages().at(-1);
    const script = path.basename(process.argv[1], ".mjs");
    await last?.screenshot({ path: path.join(out, `failed-${script}.png`) }).catch(() => {});
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
