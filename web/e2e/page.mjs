// Uses the page of a running site as a person would, and stops at the first fault.
//
//   node e2e/page.mjs --url http://127.0.0.1:8080 --out DIR [--sensors 40] [--values 2] [--timeout 60]
//
// Writes screenshots into DIR. Nothing sleeps: every step waits for a condition, `timeout` seconds at most. Exit code 1 and the failed step on failure.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { check, during, launch, options } from "./browser.mjs";

const { url, out, sensors, values, timeout } = options({ url: "http://127.0.0.1:8080", out: "test-results", sensors: "40", values: "2", timeout: "60" });
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const SMALL_PHONE = { width: 360, height: 740 };
/** Most Tab presses until a keyboard user must reach a control right after the filters. */
const TABS_MAX = 40;

await mkdir(out, { recursive: true });
const browser = await launch();
const complaints = [];

await check(browser, { out, complaints }, async () => {
  const page = await open({ viewport: DESKTOP, colorScheme: "light" });
  await fleet(page);
  await searching(page);
  await sensor(page);
  await verify(page);
  await log(page);
  await keyboard(page);
  await dark();
  await phone(PHONE);
  await phone(SMALL_PHONE);
  await during("no complaints in the console", () => assert.deepEqual(complaints, []));
  console.log(`The page is as it should be: ${sensors} sensors; screenshots in ${path.resolve(out)}`);
});

async function open(context_options) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...context_options });
  context.setDefaultTimeout(Number(timeout) * 1000);
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && complaints.push(`${message.text()} (${message.location().url})`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${url}/#/`);
  return page;
}

async function shot(page, name) {
  await page.screenshot({ path: path.join(out, name) });
}

/** A lost or disconnected sensor has no values to wait for. */
async function sensorsShown(page, least_values) {
  await page.waitForFunction(
    ([count, least]) => {
      const rows = [...document.querySelectorAll("[data-sensor]")];
      return rows.length === count && rows.every((row) => Number(row.dataset.values) >= least || row.querySelector(".state.lost, .state.disconnected"));
    },
    [Number(sensors), least_values],
  );
}

async function feedIsLive(page) {
  await page.waitForSelector('[data-feed="live"]');
}

async function fleet(page) {
  await during(`all ${sensors} sensors with ${values} values or more, and a live feed`, async () => {
    await feedIsLive(page);
    await sensorsShown(page, Number(values));
  });
  await during("the sum of the fleet, and readings as they come", async () => {
    const online = Number((await page.locator(".summary dd").first().textContent()).match(/\d+/)[0]);
    assert.ok(online > 0 && online <= Number(sensors), `${online} sensors are said to be online`);
    const times = () => page.locator("[data-sensor] time").allTextContents();
    const before = (await times()).join();
    await page.waitForFunction((old) => [...document.querySelectorAll("[data-sensor] time")].map((time) => time.textContent).join() !== old, before);
    await page.waitForFunction(() => /[\d.]+/.test(document.querySelectorAll(".summary dd")[3]?.textContent ?? ""));
  });
  await shot(page, "fleet-light.png");
}

async function searching(page) {
  await during("the text filter", async () => {
    const alias = await page.locator("[data-sensor] .alias").last().textContent();
    await page.getByPlaceholder("Find by name").fill(alias);
    await page.waitForFunction((count) => {
      const { length } = document.querySelectorAll("[data-sensor]");
      return length >= 1 && length < count;
    }, Number(sensors));
    await page.getByPlaceholder("Find by name").fill("no sensor is called this");
    await page.getByRole("button", { name: "Show all sensors" }).click();
    await sensorsShown(page, 0);
  });
  await during("the filter for what needs attention", async () => {
    const toggle = page.getByRole("button", { name: /Needs attention/ });
    await toggle.click();
    // The count changes with the fleet, so both are read at once.
    await page.waitForFunction(() => Number(document.querySelector(".toggle .count").textContent) === document.querySelectorAll("[data-sensor]").length);
    await toggle.click();
    await sensorsShown(page, 0);
  });
}

/** A sensor that answers, so that its plot will grow. */
function answering(page) {
  return page.locator("[data-sensor]:has(.state.online):not(.attention)").first();
}

async function sensor(page) {
  await during("a sensor's plot has size and points, and grows", async () => {
    await answering(page).click();
    await page.waitForSelector("[data-verify]");
    const plotted = () => page.evaluate(() => Number(document.querySelector(".plot").dataset.values));
    await page.waitForFunction(() => Number(document.querySelector(".plot")?.dataset.values) >= 2);
    const before = await plotted();
    const canvas = await page.evaluate(() => {
      const canvas = document.querySelector(".plot canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return { width: canvas.clientWidth, height: canvas.clientHeight, inked: data.some((byte) => byte !== 0) };
    });
    assert.ok(canvas.width >= 300 && canvas.height >= 200, `the plot is ${canvas.width} by ${canvas.height}`);
    assert.ok(canvas.inked, "the plot is blank");
    await page.waitForFunction((count) => Number(document.querySelector(".plot").dataset.values) > count, before);
  });
  await shot(page, "sensor.png");
}

async function everyStepPassed(page) {
  await page.waitForSelector('dialog[data-outcome="passed"], dialog[data-outcome="failed"], dialog[data-outcome="error"]');
  const outcome = await page.locator("dialog").getAttribute("data-outcome");
  const steps = await page.locator("dialog [data-step]").evaluateAll((items) => items.map((item) => `${item.dataset.step}: ${item.innerText.replaceAll("\n", " ")}`));
  assert.equal(outcome, "passed", `${await page.locator("dialog .outcome").innerText()}\n${steps.join("\n")}`);
  // The page makes two checks, and the verifier makes the rest.
  assert.ok(steps.length > 2 && steps.every((text) => text.startsWith("passed")), steps.join("\n"));
}

async function verify(page) {
  await during("Verify on a reading: every step passes, and the evidence can be kept", async () => {
    await page.locator("[data-verify]").nth(1).click();
    await everyStepPassed(page);
    await page.setViewportSize({ width: DESKTOP.width, height: 1400 });
    await shot(page, "verify.png");
    await page.setViewportSize(DESKTOP);
    for (const [button, extension] of [["Download the proof", ".tlog-proof"], ["Download the envelope", ".json"]]) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
      assert.ok(download.suggestedFilename().endsWith(extension), download.suggestedFilename());
    }
  });
  await during("Escape closes the dialog", async () => {
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
  });
}

async function log(page) {
  await during("the log: rare events, readings, a filter, a further page, Verify", async () => {
    await page.getByRole("navigation").getByRole("link", { name: "Log" }).click();
    await page.waitForSelector("[data-leaf]");
    assert.equal(await page.locator('[data-action="SENSOR_READING"]').count(), 0, "readings are shown though they are hidden");
    await shot(page, "log.png");
    await page.getByLabel("Hide readings").uncheck();
    await page.waitForSelector('[data-action="SENSOR_READING"]');
    await page.getByLabel("Action").selectOption("SENSOR_DISCOVERED");
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll("[data-leaf]")];
      return rows.length > 0 && rows.every((row) => row.dataset.action === "SENSOR_DISCOVERED");
    });
    await page.locator("[data-verify]").first().click();
    await everyStepPassed(page);
    await page.keyboard.press("Escape");
    const contains = page.getByLabel("Contains");
    await contains.fill("source:HumiditySensor");
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll("[data-leaf]")];
      return rows.length > 0 && rows.every((row) => row.textContent.includes("HumiditySensor"));
    });
    await contains.fill("");
    await page.getByLabel("Action").selectOption("SENSOR_READING");
    await page.waitForSelector('[data-action="SENSOR_READING"]');
    // No live event may arrive between the two counts.
    await page.getByRole("button", { name: "Following live" }).click();
    const rows = await page.locator("[data-leaf]").count();
    const more = page.getByRole("button", { name: "Show more" });
    if (await more.isVisible()) {
      await more.click();
      await page.waitForFunction((count) => document.querySelectorAll("[data-leaf]").length > count, rows);
    }
  });
}

async function tabTo(page, selector) {
  for (let presses = 1; presses <= TABS_MAX; presses++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return presses;
  }
  throw new Error(`${TABS_MAX} presses of Tab do not lead to ${selector}`);
}

async function keyboard(page) {
  await during("the keyboard alone leads to a sensor and a proof", async () => {
    await page.goto("about:blank");
    await page.goto(`${url}/#/`);
    await sensorsShown(page, 0);
    await tabTo(page, "[data-sensor]");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", "the focus cannot be seen");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-verify]");
    // The view focuses its heading, so that Tab continues from there.
    await page.waitForFunction(() => document.activeElement?.tagName === "H1");
    await tabTo(page, "[data-verify]");
    await page.keyboard.press("Enter");
    await everyStepPassed(page);
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    await page.waitForFunction(() => document.activeElement?.matches("[data-verify]"));
  });
}

async function dark() {
  const page = await open({ viewport: DESKTOP, colorScheme: "dark" });
  await during("dark where the system is dark", async () => {
    await sensorsShown(page, Number(values));
    await feedIsLive(page);
    const [red] = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number));
    assert.ok(red < 60, "the background is light");
  });
  await shot(page, "fleet-dark.png");
  await page.context().close();
}

async function phone(viewport) {
  const page = await open({ viewport, colorScheme: "light", deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  await during(`nothing is wider than a phone of ${viewport.width} px`, async () => {
    await sensorsShown(page, Number(values));
    await feedIsLive(page);
    await fits(page, "the fleet");
    if (viewport === PHONE) await shot(page, "phone.png");
    await answering(page).click();
    await page.waitForSelector("[data-verify]");
    await fits(page, "a sensor");
    await page.locator("[data-verify]").first().click();
    await everyStepPassed(page);
    await fits(page, "Verify");
    await page.keyboard.press("Escape");
    await page.getByRole("navigation").getByRole("link", { name: "Log" }).click();
    await page.waitForSelector("[data-leaf]");
    await fits(page, "the log");
  });
  await page.context().close();
}

/** Compares with the phone's width instead of the page's, because a phone's browser widens the page to its content. */
async function fits(page, name) {
  const width = await page.evaluate(() => Math.max(document.documentElement.scrollWidth, document.querySelector("dialog")?.scrollWidth ?? 0));
  assert.ok(width <= page.viewportSize().width, `${name} is ${width} px wide on a phone of ${page.viewportSize().width} px`);
}
