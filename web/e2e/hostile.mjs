// Connects the built page to a hostile site: its names, values and errors would reverse, hide or
// crash a careless page. There is no real site: the page's files come from `dist`, and this script
// invents the answers.
//
//   node e2e/hostile.mjs [--out DIR] [--timeout 60]
//
// Writes screenshots into DIR. Nothing sleeps. Exit code 1 and the failed step on failure.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { check, during, launch, options } from "./browser.mjs";

const { out, timeout } = options({ out: "test-results", timeout: "60" });
const DIST = path.join(path.dirname(fileURLToPath(import.meta.url)), "../dist");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
const DESKTOP = { width: 1100, height: 800 };
const PHONE = { width: 390, height: 800 };
const NOW_MS = Date.now();
const LOG = "a7".repeat(32);

/** Turns what follows, is partly unseen, rings, breaks the line, heaps accents, and says which text it is. */
const evil = (name) => `EVIL\u202e ${name}\u200b\u0007\n${"\u0301".repeat(9)}`;

/** More than are shown at first, each of a credential with more sensors than are named. */
const REFUSALS = Array.from({ length: 9 }, (_, at) => ({ who: evil(`who ${at}`), why: evil("why"), advice: evil("advice"), count: 3, last: evil("last"), sensors: [{ id: evil("id"), alias: evil("of") }], covers: 9 }));

await mkdir(out, { recursive: true });
const browser = await launch();
const complaints = [];

await check(browser, { out, complaints }, async () => {
  await texts();
  await plots();
  await spans();
  console.log("The page bears what it is told");
});

function time(ms) {
  return new Date(ms).toISOString().replace("Z", "000Z");
}

function sensorOf(id, texts, readings = []) {
  const recent = readings.slice(-30).map(({ timestamp, status, value }) => [Date.parse(timestamp), status === "SUCCESS" ? Number(value) : null]);
  const { alias = id, location = "Boiler Room", unit = "m", quantity = "distance" } = texts;
  return { id, alias, location, state: "online", out_of_range: false, not_judged: false, poll_interval_ms: 1000, orders: [], doubled: null, rule: null, unit, quantity, range: [0, 50], last: readings.at(-1) ?? null, recent };
}

/** The answer to any question about these sensors, ordered by location. */
function listOf(sensors) {
  const places = new Map();
  for (const { location } of sensors) places.set(location, (places.get(location) ?? 0) + 1);
  const locations = [...places].map(([location, count]) => ({ location, sensors: count, found: count }));
  const totals = { sensors: sensors.length, online: sensors.length, lost: 0, disconnected: 0, retired: 0, out_of_range: 0, attention: 0 };
  return { sensors, next: null, found: sensors.length, totals, locations };
}

/** A page of a site with these sensors, readings of each, and events. */
async function open({ sensors, readings = {}, events = [], viewport = DESKTOP, hash = "", now_ms }) {
  const context = await browser.newContext({ reducedMotion: "reduce", viewport });
  context.setDefaultTimeout(Number(timeout) * 1000);
  const page = await context.newPage();
  await page.addInitScript(rememberLabels);
  if (now_ms !== undefined) await page.clock.setFixedTime(now_ms);
  page.on("pageerror", (error) => complaints.push(String(error)));
  const counters = { polls: 0, answers: 0, timeouts: 0, value_errors: 0, late: 0, duplicates: 0, dropped: 0, passed_over: 0, skipped: 0, refused_heartbeats: 0 };
  const site = { log: LOG, name: evil("site"), origin: evil("origin"), vkey: evil("vkey"), log_url: "http://site.test/log", open: true, refused_devices: 1, version: evil("version"), leaves: 9, followers: [{ name: evil("follower"), lag_leaves: 1, lag_ms: 1, late: true }], clock: { synchronised: false, offset_ms: 1, source: evil("source"), since: evil("since"), believed: true, steps: 1 }, counters };
  await page.route("http://site.test/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    const api = pathname.replace(`/api/logs/${LOG}`, "/api");
    const [, , , id, what] = api.split("/");
    if (api === "/api/site" || api === "/api") return route.fulfill({ json: site });
    if (pathname === "/session") return route.fulfill({ json: { name: evil("operator"), operates: true } });
    if (api === "/api/refusals") return route.fulfill({ json: { refusals: REFUSALS, found: 99 } });
    if (api === "/api/sensors") return route.fulfill({ json: listOf(sensors) });
    if (api === "/api/search" || api === "/api/logs") return route.fulfill({ json: { id: "x", count: events.length, count_is_lower_bound: false, events } });
    if (what === "readings" && readings[decodeURIComponent(id)]) return route.fulfill({ json: { kind: "readings", truncated: false, readings: readings[decodeURIComponent(id)], clock: { answers: 1, offset_ms: 1, started_at: evil("started"), flags: evil("flags") } } });
    const file = pathname === "/" ? "/index.html" : pathname;
    const body = await readFile(path.join(DIST, file)).catch(() => null);
    if (body !== null) return route.fulfill({ body, contentType: TYPES[path.extname(file)] });
    return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: evil("title"), detail: evil("detail") }) });
  });
  await page.goto(`http://site.test/${hash}`);
  return page;
}

/** Every text on the page and every attribute that a person sees or hears, with its faults. */
function faults(page) {
  return page.evaluate(() => {
    const unseen = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|\p{M}{5}/u;
    const isolated = (text) => text.replace(/\u2068([^\u2068\u2069]*)\u2069/gu, "");
    const found = [];
    let looked_at = 0;
    const look = (shown, where) => {
      if (shown.includes("EVIL")) looked_at += 1;
      const text = isolated(shown);
      if (unseen.test(text) || (text.includes("EVIL") && !where.closest?.("bdi"))) found.push(text);
    };
    for (const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); nodes.nextNode(); ) {
      const { data, parentElement } = nodes.currentNode;
      if (!parentElement.closest("script, style")) look(data.replaceAll(/[\n\t]+/g, " "), parentElement);
    }
    for (const element of document.querySelectorAll("[title], [aria-label], [placeholder]")) {
      for (const name of ["title", "aria-label", "placeholder"]) look(element.getAttribute(name) ?? "", document);
    }
    look(document.title, document);
    return { found, looked_at, wide: document.documentElement.scrollWidth };
  });
}

async function isClean(page, name, least) {
  await during(name, async () => {
    const { found, looked_at, wide } = await faults(page);
    await page.screenshot({ path: path.join(out, `hostile-${name.replaceAll(/\W+/g, "-")}.png`), fullPage: true });
    assert.deepEqual(found, []);
    assert.ok(looked_at >= least, `${looked_at} hostile texts were looked at, and there should be ${least}`);
    assert.ok(wide <= page.viewportSize().width, `the page is ${wide} px wide`);
    assert.deepEqual(complaints, []);
  });
}

async function texts() {
  const reading = { leaf: 1, timestamp: time(NOW_MS), status: "SUCCESS", value: evil("value"), unit: evil("unit") };
  const measured = { ...reading, channels: { [evil("channel")]: { value: evil("measured"), calibrated: 1, unit: evil("unit") } } };
  const channel = { name: evil("channel"), kind: null, quantity: evil("quantity"), unit: evil("unit"), range: [0, 1], standing: "outside", last: { ...reading, calibrated: 1 } };
  const calibration = { order: "calibrate", by: evil("by"), at: time(NOW_MS), reason: evil("reason"), gain: evil("gain"), offset: evil("offset"), from: time(NOW_MS - 1_000), channel: channel.name };
  const several = { ...sensorOf("several", {}, [measured]), out_of_range: true, channels: [channel], orders: [calibration] };
  const failed = { leaf: 2, timestamp: evil("timestamp"), status: "VALUE_ERROR", value: evil("failed") };
  const texts = { alias: evil("alias"), location: evil("location"), unit: evil("declared"), quantity: evil("quantity") };
  const sensors = [
    sensorOf("a", texts, [reading]),
    sensorOf("blank", { alias: "", location: " " }, [{ ...reading, value: "1", unit: "" }]),
    sensorOf("unseen", { alias: "\u200b\u2800", location: "\u3000" }, [{ ...reading, value: "\u202e12" }]),
    several,
    sensorOf("arabic", { alias: "خزان الماء", location: "المصنع" }, [{ ...reading, value: "23.5", unit: "°م" }]),
  ];
  const event = { action: evil("action"), actor: evil("actor"), message: evil("message"), new: evil("new"), old: evil("old"), source: evil("source"), status: evil("status"), timestamp: evil("said") };
  const own = { sensor: "a", unit: evil("sealed") };
  const envelope = (event, sealwire) => ({ event, received_at: time(NOW_MS), salt: "00", ...(sealwire && { sealwire }) });
  const events = [envelope(event), envelope(event, own), envelope({ message: evil("alone") }), envelope({ action: "SENSOR_LOST", source: " ", message: "" }, own)].map((envelope, leaf) => ({ leaf, envelope }));
  const site = { sensors, readings: { a: [reading, failed], several: [measured] }, events };
  for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    const fleet = await open({ ...site, viewport });
    await fleet.waitForSelector("[data-sensor]");
    await isClean(fleet, `the fleet on a ${name}`, 10);
    await during("a sensor without a name can be clicked", async () => {
      const alias = fleet.locator('[data-sensor="blank"] .alias');
      assert.ok((await alias.innerText()).includes("No name"));
      await alias.click();
      await fleet.waitForSelector("h1 bdi");
    });
    const sensor = await open({ ...site, viewport, hash: "#/sensor/a" });
    await sensor.waitForSelector("[data-verify]");
    await isClean(sensor, `a sensor on a ${name}`, 10);
    const channels = await open({ ...site, viewport, hash: "#/sensor/several" });
    await channels.waitForSelector("[data-verify]");
    await channels.waitForSelector("[data-mark]");
    await isClean(channels, `a sensor with channels on a ${name}`, 12);
    await sensor.locator("[data-verify]").first().click();
    await sensor.waitForSelector('dialog[data-outcome="error"]');
    await isClean(sensor, `Verify on a ${name}`, 12);
    const log = await open({ ...site, viewport, hash: "#/log" });
    await log.waitForSelector("[data-leaf]");
    await isClean(log, `the log on a ${name}`, 15);
    for (const page of [fleet, sensor, log]) await page.context().close();
  }
  const unknown = await open({ ...site, hash: `#/sensor/${encodeURIComponent(evil("id"))}` });
  await unknown.waitForSelector(".problem");
  await isClean(unknown, "a sensor that is not there", 3);
  await unknown.context().close();
}

/** This many of these answers in turn; null is no answer. */
function answers(of, count, every_ms, until_ms = NOW_MS) {
  return Array.from({ length: count }, (_, at) => {
    const value = of[at % of.length];
    const timestamp = time(until_ms - (count - at) * every_ms);
    return value === null ? { leaf: at, timestamp, status: "COMM_ERROR", value: "N/A" } : { leaf: at, timestamp, status: "SUCCESS", value, unit: "m" };
  });
}

/** Pixels of the line's colour. */
function inked(page) {
  return page.evaluate(() => {
    const canvas = document.querySelector(".plot canvas");
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = "var(--accent)";
    const [red, green, blue] = getComputedStyle(probe).color.match(/\d+/g).map(Number);
    probe.remove();
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255) count += 1;
    return count;
  });
}

async function plots() {
  for (const [name, readings, least] of [
    ["whole numbers a hair apart", answers(["10000000000000000", "10000000000000002"], 300, 3000), 500],
    ["rounding noise", answers(["21.4", "21.400000000000002"], 300, 3000), 500],
    ["every other answer", answers(["20", null, "22", null], 600, 1500), 500],
    ["every other answer, close together", answers(["20", null, "22", null], 4000, 200), 500],
    ["the largest numbers", answers(["1e308", "-1e308", "1.7976931348623157e308", "-1.7976931348623157e308"], 40, 20_000), 500],
    ["the smallest numbers", answers(["5e-324", "-5e-324"], 40, 20_000), 300],
    ["large numbers", answers(["100000000000000", "100000000000100"], 40, 20_000), 500],
    ["one answer", answers(["42"], 1, 1000), 1],
    ["no answer", answers([null], 10, 1000), 0],
    ["a clock that was set back", [...answers(["1", "2"], 20, 20_000), ...answers(["5"], 5, 60_000)].map((reading, leaf) => ({ ...reading, leaf })), 300],
  ]) {
    await during(`a plot of ${name}`, async () => {
      const page = await open({ sensors: [sensorOf("s", {}, readings)], readings: { s: readings }, hash: "#/sensor/s" });
      await page.waitForFunction((count) => Number(document.querySelector(".plot")?.dataset.values) === count, readings.filter(({ status }) => status === "SUCCESS").length);
      await page.waitForSelector(".plot canvas");
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      await page.locator(".chart").screenshot({ path: path.join(out, `plot-${name.replaceAll(/\W+/g, "-")}.png`) });
      const pixels = await inked(page);
      assert.ok(pixels >= least, `${pixels} pixels are drawn, and there should be ${least}`);
      assert.deepEqual(complaints, []);
      await page.context().close();
    });
  }
}

/** Remembers what is written on canvases: each text, and how far it reaches over the edges. */
function rememberLabels() {
  window.written = [];
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
    const { actualBoundingBoxLeft: left, actualBoundingBoxRight: right } = this.measureText(text);
    const at = this.getTransform().transformPoint({ x, y });
    window.written.push({ text, beyond_px: Math.max(left - at.x, at.x + right - this.canvas.width) });
    return fillText.call(this, text, x, y, ...rest);
  };
}

/** A sensor that is two minutes old at midnight: every span is shown whole, and the last label is at the edge. */
async function spans() {
  const midnight = new Date(NOW_MS);
  midnight.setHours(24, 0, 0, 0);
  const now_ms = midnight.getTime();
  const readings = answers(["20", "21"], 24, 5000, now_ms);
  for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    await during(`the plot of a young sensor spans what was chosen, and its labels are whole, on a ${name}`, async () => {
      const page = await open({ sensors: [sensorOf("s", {}, readings)], readings: { s: readings }, hash: "#/sensor/s", viewport, now_ms });
      await page.waitForSelector(".plot canvas");
      const spans = await page.locator(".windows button").allInnerTexts();
      for (const span of spans) {
        await page.getByRole("button", { name: span, exact: true }).click();
        await page.waitForFunction((span) => document.querySelector(".windows [aria-pressed=true]").innerText === span, span);
        await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
        await page.locator(".chart").screenshot({ path: path.join(out, `span-${name}-${span.replaceAll(" ", "-")}.png`) });
        const written = await page.evaluate(() => window.written);
        assert.ok(written.length > 2, `${span} has no labels`);
        assert.deepEqual(written.filter(({ beyond_px }) => beyond_px > 0), [], `${span}: labels reach over the edge`);
      }
      await page.context().close();
    });
  }
}
