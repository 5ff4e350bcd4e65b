// Measures the age of a reading when the page shows it. The sensor and the page must use the clock
// of the same machine.
//
//   node e2e/latency.mjs --url http://127.0.0.1:8080 --seconds 60 [--sensors 1]
//
// Prints {"count", "p50_ms", "p99_ms", "max_ms", "page_ms"}; `page_ms` is the time from the start
// of navigation until the fleet is shown. Exit code 1 if no reading came.

import { launch, options } from "./browser.mjs";

const { url, seconds, sensors } = options({ url: "http://127.0.0.1:8080", seconds: "60", sensors: "1" });
const START_TIMEOUT_MS = 30_000;

const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  // Readings from before the feed was live say nothing about its speed.
  await page.addInitScript(() => {
    window.measured = { from_ms: Infinity, ages_ms: [], page_ms: null };
    addEventListener("sealwire:applied", ({ detail }) => {
      const now_ms = Date.now();
      for (const { envelope } of detail) {
        const taken_ms = Date.parse(envelope.sealwire?.sensor_time ?? "");
        if (taken_ms >= window.measured.from_ms) window.measured.ages_ms.push(now_ms - taken_ms);
      }
    });
  });
  await page.goto(`${url}/#/`, { waitUntil: "commit" });
  const page_ms = await page
    .waitForFunction((least) => document.querySelectorAll("[data-sensor]").length >= least && performance.now(), Number(sensors), {
      timeout: START_TIMEOUT_MS,
      polling: "raf",
    })
    .then((handle) => handle.jsonValue());
  await page.waitForSelector('[data-feed="live"]', { timeout: START_TIMEOUT_MS });
  // The wait ends when the measuring time is over by the page's clock.
  const ages_ms = await page
    .waitForFunction(
      (span_ms) => {
        if (window.measured.from_ms === Infinity) window.measured.from_ms = Date.now();
        return Date.now() - window.measured.from_ms >= span_ms && window.measured.ages_ms;
      },
      Number(seconds) * 1000,
      { timeout: Number(seconds) * 1000 + START_TIMEOUT_MS, polling: 100 },
    )
    .then((handle) => handle.jsonValue());

  ages_ms.sort((a, b) => a - b);
  const at = (part) => ages_ms[Math.min(ages_ms.length - 1, Math.floor(ages_ms.length * part))] ?? null;
  console.log(JSON.stringify({ count: ages_ms.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1), page_ms: Math.round(page_ms) }));
  if (ages_ms.length === 0) {
    console.error(`No reading with a sensor_time came within ${seconds} s.`);
    process.exitCode = 1;
  }
} catch (error) {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
