// Scrolls, walks, leaves and filters a long list of sensors as a person would, and measures what it
// costs the browser.
//
//   node e2e/fleet.mjs [--url http://127.0.0.1:8080] [--out DIR] [--sensors 10000] [--timeout 60]
//
// Without `--url` there is no real site: the page's files come from `dist`, and this script invents
// the answers and 1,000 readings a second. So the figures are those of the page alone. Writes a
// screenshot into DIR, and prints the figures as JSON in the last line. Nothing asserts a time.
// Exit code 1 and the failed step on failure.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { check, during, launch, options } from "./browser.mjs";

const { url, out, sensors, timeout } = options({ url: "", out: "test-results", sensors: "10000", timeout: "60" });
const COUNT = Number(sensors);
const NODES_MAX = 5_000;
/** The list is scrolled this often, each time as far as one click of a wheel scrolls. */
const [TURNS, TURN_PX] = [200, 120];
const READINGS_PER_SECOND = 1_000;
const VIEWPORT = { width: 1280, height: 900 };
const PER_LOCATION = 125;

await mkdir(out, { recursive: true });
const site = url === "" ? await invent() : null;
const base = url === "" ? `http://127.0.0.1:${site.address().port}` : url;
const browser = await launch();
const figures = { sensors: COUNT };

await check(browser, { out }, async () => {
  const context = await browser.newContext({ reducedMotion: "reduce", viewport: VIEWPORT });
  context.setDefaultTimeout(Number(timeout) * 1000);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  await opening(page);
  await scrolling(page);
  await keys(page);
  await returning(page);
  await filtering(page);
  assert.deepEqual(complaints, []);
  console.log(JSON.stringify(figures));
});
site?.closeAllConnections();
site?.close();

async function opening(page) {
  await during(`the first rows of ${COUNT} sensors, and their number`, async () => {
    await page.goto(`${base}/#/`, { waitUntil: "commit" });
    const first = await page.waitForFunction(() => document.querySelector("[data-sensor]") && performance.now(), null, { polling: "raf" });
    figures.first_rows_ms = Math.round(await first.jsonValue());
    await page.waitForSelector('[data-feed="live"]');
    await page.waitForFunction((count) => document.querySelector(".summary .of")?.textContent.replaceAll(/\D/g, "") === String(count), COUNT);
  });
  await few(page, "at the top");
  await page.screenshot({ path: path.join(out, "fleet-10000.png") });
}

/** Number of elements and texts, as the browser counts them. */
async function few(page, where) {
  const nodes = await page.evaluate(() => {
    let count = 0;
    for (const walk = document.createTreeWalker(document); walk.nextNode(); ) count += 1;
    return count;
  });
  figures.nodes = Math.max(figures.nodes ?? 0, nodes);
  assert.ok(nodes < NODES_MAX, `${nodes} nodes ${where}`);
}

/** Processor time of the page's main thread in milliseconds, which other programs do not lengthen. */
async function busy_ms(devtools) {
  const { metrics } = await devtools.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "TaskDuration").value * 1000;
}

async function scrolling(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  await during("scrolling with the wheel, frame by frame", async () => {
    const before_ms = await busy_ms(devtools);
    const scrolled = await page.evaluate(
      ([turns, turn_px]) =>
        new Promise((done) => {
          let turned = 0;
          let [first_ms, last_ms, longest_ms] = [0, 0, 0];
          const frame = (now_ms) => {
            if (turned === 0) first_ms = now_ms;
            else longest_ms = Math.max(longest_ms, now_ms - last_ms);
            last_ms = now_ms;
            if (turned === turns) return done({ frames: turned, ms: last_ms - first_ms, longest_ms });
            turned += 1;
            scrollBy({ top: turn_px, behavior: "instant" });
            requestAnimationFrame(frame);
          };
          requestAnimationFrame(frame);
        }),
      [TURNS, TURN_PX],
    );
    figures.frames_per_second = Math.round((scrolled.frames / scrolled.ms) * 10_000) / 10;
    figures.main_thread_ms_per_frame = Math.round(((await busy_ms(devtools)) - before_ms) / scrolled.frames * 10) / 10;
    figures.longest_frame_ms = Math.round(scrolled.longest_ms);
  });
  await few(page, "after scrolling");
  await during("the rows at which a person stops are fetched", () => filled(page));
}

/** Every row on the screen has its sensor. */
async function filled(page) {
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll(".row")].filter((row) => {
      const { top, bottom } = row.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    });
    return rows.length > 0 && rows.every((row) => row.dataset.sensor !== undefined);
  });
}

/** What a screen reader says of the row that has the focus: its place and its number. */
function focused(page) {
  return page.evaluate(() => {
    const row = document.activeElement;
    const item = row.closest("li");
    if (item === null) return null;
    const { top, bottom } = row.getBoundingClientRect();
    const place = document.getElementById(item.parentElement.getAttribute("aria-labelledby")).textContent.trim();
    const covered_px = document.querySelector("header").offsetHeight;
    return { place, number: Number(item.ariaPosInSet), of: Number(item.ariaSetSize), id: row.dataset.sensor ?? null, is_seen: top >= covered_px - 1 && bottom <= innerHeight + 1 };
  });
}

async function press(page, key) {
  await page.keyboard.press(key);
  await page.waitForFunction(() => document.activeElement.dataset?.sensor !== undefined);
  const row = await focused(page);
  assert.ok(row?.is_seen, `${key} leads to a row that is not on the screen: ${JSON.stringify(row)}`);
  return row;
}

async function keys(page) {
  await during("Home, End, arrows and pages lead through the list, and the focus is always seen", async () => {
    await page.evaluate(() => scrollTo(0, 0));
    await filled(page);
    await page.locator('.row[tabindex="0"]').focus();
    const home = await press(page, "Home");
    assert.equal(home.number, 1);
    const end = await press(page, "End");
    assert.equal(end.number, end.of);
    assert.notEqual(end.id, home.id);
    await few(page, "at the end");
    const above = await press(page, "ArrowUp");
    assert.notEqual(above.id, end.id);
    const page_above = await press(page, "PageUp");
    assert.notEqual(page_above.id, above.id);
    await press(page, "PageDown");
    const again = await press(page, "Home");
    assert.equal(again.id, home.id);
    const next = await press(page, "ArrowRight");
    assert.notEqual(next.id, home.id);
    assert.equal(await page.locator('.row[tabindex="0"]').count(), 1);
  });
  await during("the focus stays while a person scrolls away", async () => {
    const before = await focused(page);
    await page.mouse.move(400, 600);
    await page.mouse.wheel(0, 20_000);
    await page.waitForFunction(() => scrollY > 15_000);
    await filled(page);
    assert.equal((await focused(page)).id, before.id);
  });
}

async function returning(page) {
  await during("Back returns to the row, with the focus", async () => {
    await page.keyboard.press("PageDown");
    for (let times = 0; times < 20; times++) await press(page, "PageDown");
    const { id } = await focused(page);
    const scrolled = await page.evaluate(() => scrollY);
    assert.ok(scrolled > 1_000);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".chart");
    await page.goBack();
    await page.waitForFunction((id) => document.activeElement.dataset?.sensor === id, id);
    assert.ok((await focused(page)).is_seen);
    assert.equal(await page.evaluate(() => scrollY), scrolled);
  });
}

async function filtering(page) {
  await during("a filter asks the site, and its number is right", async () => {
    await page.getByPlaceholder("Find by name").fill("Sensor000 no such sensor");
    await page.getByText(`None of ${COUNT} sensors matches`).waitFor();
    await page.getByRole("button", { name: "Show all sensors" }).click();
    await page.waitForSelector("[data-sensor]");
    const choice = page.getByLabel("Location");
    await choice.selectOption({ index: 2 });
    const location = await choice.inputValue();
    await page.waitForFunction((location) => {
      const headings = [...document.querySelectorAll(".list h2")];
      return headings.length === 1 && headings[0].textContent.includes(location);
    }, location);
  });
}

/** A site with this many sensors, which answers as docs/http-api.md says. */
async function invent() {
  const DIST = path.join(path.dirname(fileURLToPath(import.meta.url)), "../dist");
  const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
  const LOG = "a7".repeat(32);
  const CLOCK = { synchronised: null, offset_ms: null, source: null, since: "2026-11-29T12:00:00.000000Z", believed: true, steps: 0 };
  const now_ms = Date.now();
  const all = Array.from({ length: COUNT }, (_, at) => {
    const values = Array.from({ length: 30 }, (_, turn) => 20 + 5 * Math.sin(at + turn / 3));
    const last = { leaf: at, timestamp: new Date(now_ms).toISOString(), status: "SUCCESS", value: values.at(-1).toFixed(2), unit: "°C" };
    return {
      id: `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`,
      alias: `Sensor${String(at).padStart(5, "0")}`,
      location: `Hall ${String(Math.floor(at / PER_LOCATION)).padStart(3, "0")}`,
      state: "online", out_of_range: false, not_judged: false, poll_interval_ms: 10_000, orders: [], doubled: null, rule: null, unit: "°C", quantity: "temperature", range: [0, 50],
      last, recent: values.map((value, turn) => [now_ms - (30 - turn) * 10_000, value]),
    };
  });
  let leaves = COUNT;
  const reading = () => {
    const leaf = leaves++;
    const { id } = all[(leaf * 7919) % COUNT];
    const timestamp = new Date().toISOString();
    const event = { action: "SENSOR_READING", status: "SUCCESS", new: (20 + Math.random()).toFixed(2), timestamp };
    return `id: ${leaf}\nevent: sealed\ndata: ${JSON.stringify({ leaf, envelope: { event, received_at: timestamp, salt: "00", sealwire: { sensor: id, unit: "°C", range: "0..50" } } })}\n\n`;
  };
  const list = (asked) => {
    const [text, location, id] = ["text", "location", "id"].map((name) => asked.get(name));
    const is_found = (sensor) =>
      (text === null || `${sensor.alias} ${sensor.location}`.includes(text)) && (location === null || sensor.location === location) && (id === null || sensor.id === id);
    const found = all.filter(is_found);
    const places = new Map();
    for (const sensor of all) {
      const place = places.get(sensor.location) ?? { location: sensor.location, sensors: 0, found: 0 };
      places.set(sensor.location, { ...place, sensors: place.sensors + 1, found: place.found + Number(is_found(sensor)) });
    }
    const offset = Number(asked.get("offset") ?? 0);
    const totals = { sensors: COUNT, online: COUNT, lost: 0, disconnected: 0, retired: 0, out_of_range: 0, attention: 0 };
    return { sensors: found.slice(offset, offset + Number(asked.get("limit") ?? 500)), next: null, found: found.length, totals, ...(asked.has("locations") && { locations: [...places.values()] }) };
  };
  const counters = { polls: 0, answers: 0, timeouts: 0, value_errors: 0, late: 0, duplicates: 0, dropped: 0, passed_over: 0, skipped: 0, refused_heartbeats: 0 };
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
    const json = (body) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    const api = pathname.replace(`/api/logs/${LOG}`, "/api");
    if (api === "/api" || api === "/api/site") return json({ log: LOG, name: "invented", origin: "invented", vkey: "invented", log_url: base, open: true, version: "0", leaves, followers: [], clock: CLOCK, counters });
    if (api === "/api/sensors") return json(list(searchParams));
    if (api.endsWith("/readings")) return json({ truncated: false, readings: [], clock: { answers: 0 } });
    if (pathname.endsWith("/live")) {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const feeding = setInterval(() => response.write(Array.from({ length: READINGS_PER_SECOND / 20 }, reading).join("")), 50);
      return request.on("close", () => clearInterval(feeding));
    }
    const file = pathname === "/" ? "/index.html" : pathname;
    const body = await readFile(path.join(DIST, file)).catch(() => null);
    if (body === null) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
