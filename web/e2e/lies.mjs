// Stands between the page and its gateway, as anyone who runs the gateway could, and changes sealed
// rows. Verify must find each change.
//
//   node e2e/lies.mjs --url http://127.0.0.1:8080 [--timeout 60]
//
// The site is real, with at least two simulated sensors that answer. Nothing sleeps. Exit code 1
// and the failed step on failure.

import assert from "node:assert/strict";
import { check, during, launch, options } from "./browser.mjs";

const { url, timeout } = options({ url: "http://127.0.0.1:8080", timeout: "60" });
const browser = await launch();

await check(browser, {}, async () => {
  const sensors = (await (await fetch(`${url}/api/sensors`)).json()).sensors.filter(({ state, last }) => state === "online" && last?.status === "SUCCESS");
  const [own, other] = [sensors[0], sensors.find(({ unit }) => unit !== sensors[0].unit)];
  await readings(own, other);
  await events();
  console.log("Verify found every lie");
});

/** Opens `hash` in a separate browser in which `lies` changes the answers to `path`, and verifies the last row that `row` selects. */
async function verified({ hash, path, lies, row }) {
  const context = await browser.newContext({ reducedMotion: "reduce" });
  context.setDefaultTimeout(Number(timeout) * 1000);
  const page = await context.newPage();
  // The feed would replace false rows with true ones.
  await page.addInitScript(() => {
    window.SharedWorker = undefined;
    window.EventSource = class extends EventTarget { close() {} };
  });
  await page.route(path, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: await lies(await response.json(), new URL(route.request().url()), page) });
  });
  await page.goto(`${url}/${hash}`);
  await page.locator(`${row} [data-verify]`).last().click();
  // On a busy machine an answer may come too late. Try again, as a person would.
  await page.waitForFunction(() => {
    const dialog = document.querySelector("dialog");
    if (dialog?.dataset.outcome === "error") [...dialog.querySelectorAll("button")].find(({ innerText }) => innerText === "Try again")?.click();
    return ["passed", "renamed", "failed"].includes(dialog?.dataset.outcome);
  });
  const outcome = await page.locator("dialog").getAttribute("data-outcome");
  const said = await page.locator("dialog").innerText();
  await context.close();
  return { outcome, said };
}

async function expect(outcome, name, lie) {
  return during(name, async () => {
    const found = await verified(lie);
    assert.equal(found.outcome, outcome, found.said);
    return found.said;
  });
}

async function readings(own, other) {
  const table = (lies) => ({ hash: `#/sensor/${own.id}`, path: /\/readings\?/, lies, row: "tr[data-leaf]" });
  const good = ({ readings, ...rest }) => ({ ...rest, readings: readings.filter(({ status }) => status === "SUCCESS") });
  const each = (change) => table((answer) => ({ ...answer, readings: good(answer).readings.map(change) }));
  const said = await expect("passed", "a true reading passes", table(good));
  assert.ok(said.includes(`sealwire.unit\n${own.unit}`) && said.includes("received_at"), said);
  await expect("failed", "another sensor's readings are not this one's", table(async (_answer, asked) =>
    good(await (await fetch(`${url}${asked.pathname.replace(own.id, other.id)}${asked.search}`)).json())));
  await expect("failed", "another value", each((reading) => ({ ...reading, value: `${reading.value}0` })));
  await expect("failed", "another unit", each((reading) => ({ ...reading, unit: other.unit })));
  await expect("failed", "no unit", each(({ unit: _, ...reading }) => reading));
  await expect("failed", "another time", each((reading) => ({ ...reading, timestamp: reading.timestamp.replace(/\dZ$/, (end) => `${(Number(end[0]) + 1) % 10}Z`) })));
  await expect("failed", "an answer where there was none", each((reading) => ({ ...reading, status: "COMM_ERROR", value: "N/A" })));
  // The name comes last. Until then no reading can be verified, because Verify compares the name.
  let held = null;
  const renamed = async (answer, _asked, page) => {
    // The page asks for the sensor and for the list. Both answers are held back together.
    await (held ??= withoutName(page));
    return named(answer);
  };
  const withoutName = async (page) => {
    await page.waitForFunction(() => Number(document.querySelector(".plot")?.dataset.values) > 0);
    assert.equal(await page.locator("[data-verify]").count(), 0, "a reading is shown before the sensor's name");
  };
  const named = (answer) => ({ ...answer, sensors: answer.sensors.map((sensor) => (sensor.id === own.id ? { ...sensor, alias: other.alias, location: other.location } : sensor)) });
  await expect("renamed", "a sensor under another name is not called unchanged", { ...table(renamed), path: /\/sensors\?/, row: "tr[data-leaf]:not(:has(.mark))" });
}

async function events() {
  const log = (change) => ({
    hash: "#/log",
    path: /\/(search|api\/logs)$/,
    lies: (answer) => ({ ...answer, events: answer.events.map(({ leaf, envelope }) => ({ leaf, envelope: change(envelope) })) }),
    row: '[data-action="SENSOR_DISCOVERED"]',
  });
  const event = (change) => log((envelope) => ({ ...envelope, event: { ...envelope.event, ...change(envelope.event) } }));
  await expect("passed", "a true event passes", log((envelope) => envelope));
  await expect("failed", "the site's own event as a program's", log(({ sealwire: _, ...envelope }) => envelope));
  await expect("failed", "another sensor in an event", log((envelope) => ({ ...envelope, sealwire: { ...envelope.sealwire, sensor: "00000000-0000-0000-0000-000000000000" } })));
  await expect("failed", "another actor", event(() => ({ actor: "ada" })));
  await expect("failed", "another message", event(({ message }) => ({ message: `${message}!` })));
  await expect("failed", "another source", event(() => ({ source: "Freezer.T1" })));
  await expect("failed", "a value that was never sealed", event(() => ({ new: "7" })));
  await expect("failed", "another time of receipt", log((envelope) => ({ ...envelope, received_at: "2026-01-01T00:00:00.000000Z" })));
}
