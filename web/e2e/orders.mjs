// Gives orders on the page of a running site as a person would, with a hostile web site beside it.
// Where the page asks people to sign in, signs in and out; elsewhere gives the token on the page.
//
//   node e2e/orders.mjs --url URL --token SECRET --operator NAME --reader SECRET [--refused WHO --sensor ID] [--out DIR] [--timeout 60]
//
// `token` may order and belongs to `operator`; `reader` may only read. With `refused`, the page must
// also say that somebody was refused in that name, which covers the sensor with the id. Nothing
// sleeps. Exit code 1 and the failed step on failure.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { check, during, launch, options } from "./browser.mjs";

const { url, token, operator, reader, refused, sensor, out, timeout } = options({ url: "", token: "", operator: "", reader: "", refused: "", sensor: "", out: "test-results", timeout: "60" });
const signs_in = url.startsWith("https:");
const kind = signs_in ? "elsewhere" : "loopback";
const complaints = [];

await mkdir(out, { recursive: true });
const browser = await launch();

await check(browser, { out, complaints }, async () => {
  // The site's own authority is not the browser's.
  const context = await browser.newContext({ reducedMotion: "reduce", ignoreHTTPSErrors: true, viewport: { width: 1280, height: 1100 } });
  context.setDefaultTimeout(Number(timeout) * 1000);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && /Content Security Policy/.test(message.text()) && complaints.push(message.text()));
  await page.goto(`${url}/#/`);
  if (refused !== "") await refusals(page);
  await (signs_in ? readersSeeNone(page) : strangersSeeNone(page));
  await orders(page);
  await othersOrderNothing(context, page);
  if (signs_in) await signOut(page);
  else await forget(page);
  assert.deepEqual(complaints, []);
  console.log("Those who may give orders do, and nobody else does");
});

async function shot(page, name) {
  await page.screenshot({ path: path.join(out, `${name}-${kind}.png`), fullPage: true });
}

async function refusals(page) {
  const row = () => page.locator("[data-refusal]", { hasText: refused }).first();
  await during("the fleet says who was refused, why, how often, and what to do", async () => {
    const said = await row().innerText();
    for (const words of [/password is wrong/i, /What you can do:/, /Once|\d times/]) assert.match(said, words);
  });
  await shot(page, "refused");
  await during("and the sensor's own page says it too", async () => {
    await page.goto(`${url}/#/sensor/${sensor}`);
    await page.getByRole("heading", { name: "The device of this sensor was refused" }).waitFor();
    await row().waitFor();
    await page.goto(`${url}/#/`);
  });
}

async function openSensor(page) {
  await page.locator("[data-sensor]").first().click();
  await page.waitForSelector(".chart");
}

async function signIn(page, secret) {
  await page.locator('input[type="password"]').fill(secret);
  await page.keyboard.press("Enter");
  await page.waitForSelector('[data-feed="live"]');
}

async function readersSeeNone(page) {
  await during("who may only read sees no orders", async () => {
    await signIn(page, reader);
    await openSensor(page);
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    assert.equal(await page.getByRole("heading", { name: "Orders" }).count(), 0);
  });
  await signOut(page);
  await signIn(page, token);
  await openSensor(page);
}

async function strangersSeeNone(page) {
  await during("nobody sees orders without a token, and a token that only reads gives none", async () => {
    await openSensor(page);
    const asking = page.getByRole("button", { name: "Give orders…" });
    await asking.click();
    assert.equal(await page.getByRole("button", { name: "Poll now" }).count(), 0);
    for (const [wrong, words] of [["pts_wrong", "knows no such token"], [reader, "may not give orders"]]) {
      await page.locator('input[type="password"]').fill(wrong);
      await page.keyboard.press("Enter");
      await page.locator(".problem", { hasText: words }).waitFor();
      assert.equal(await page.locator("[data-operator]").count(), 0);
    }
    await page.locator('input[type="password"]').fill(token);
    await page.keyboard.press("Enter");
  });
}

/** Waits for another result, and returns what it says. */
async function result(page, count) {
  await page.waitForFunction((count) => document.querySelectorAll("[data-result]").length === count, count);
  return page.locator("[data-result]").first().innerText();
}

async function withReason(page, button, reason, fill = async () => {}) {
  await page.getByRole("button", { name: button }).first().click();
  await fill();
  await page.getByLabel("Reason, for the log").fill(reason);
  await page.locator("form button.primary").click();
}

async function orders(page) {
  await during("a poll by order ends in a sealed reading, which verifies", async () => {
    await page.waitForSelector(`[data-operator="${operator}"]`);
    await page.getByRole("button", { name: "Poll now" }).click();
    assert.ok((await result(page, 1)).includes(`ordered by token ${operator}`));
    await page.locator(".results [data-verify]").first().click();
    await page.waitForSelector('dialog[data-outcome="passed"]');
    await page.keyboard.press("Escape");
  });
  await during("a pause needs a reason, names who gave it, and shows at once", async () => {
    await page.getByRole("button", { name: "Pause polls" }).click();
    await page.locator("form button.primary").click();
    assert.equal(await page.locator("[data-result]").count(), 1, "there was no reason");
    await page.getByLabel("Reason, for the log").fill("the pump is cleaned");
    await page.locator("form button.primary").click();
    const said = await result(page, 2);
    assert.ok(said.includes("polls paused: the pump is cleaned") && said.includes(`ordered by token ${operator}`), said);
    await page.locator(".title .mark", { hasText: "Paused" }).waitFor();
    await page.locator(".order", { hasText: "the pump is cleaned" }).waitFor();
  });
  await shot(page, "orders");
  await during("polls are resumed", async () => {
    await withReason(page, "Resume polls", "it is clean");
    await result(page, 3);
    await page.getByRole("button", { name: "Pause polls" }).waitFor();
  });
  await during("another interval is set", async () => {
    await withReason(page, "Change the interval", "less is enough", () => page.getByLabel("Seconds between two polls").fill("2.5"));
    assert.ok((await result(page, 4)).includes("polled every 2500 ms"));
    await page.locator("dd", { hasText: "2500 ms" }).first().waitFor();
  });
  await during("a longer time for answers is set", async () => {
    await withReason(page, "Change the time for answers", "a slow line", () => page.getByLabel("Seconds for an answer").fill("1.5"));
    assert.ok((await result(page, 5)).includes("has 1500 ms for an answer"));
    await page.locator(".order", { hasText: "Has 1500 ms for an answer" }).waitFor();
  });
}

/** Another web site in the same browser sends orders in the name of the person who signed in. */
async function othersOrderNothing(context, page) {
  await during("no other web site orders anything", async () => {
    const id = decodeURIComponent(page.url().split("/").at(-1));
    const body = JSON.stringify({ sensor: id, reason: "evil" });
    // A form that sends JSON as text: what stands before the equals sign, and after it.
    const [name, value] = [body.slice(0, -2), body.slice(-2)];
    const target = `${url}/api/polling/pause`;
    const evil = http.createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/html" });
      const attribute = (text) => text.replaceAll('"', "&quot;");
      response.end(`<form id="f" method="post" enctype="text/plain" action="${target}"><input name="${attribute(name)}" value="${attribute(value)}"></form>`);
    });
    await new Promise((listening) => evil.listen(0, "127.0.0.1", listening));
    try {
      const hostile = await context.newPage();
      await hostile.goto(`http://127.0.0.1:${evil.address().port}/`);
      const statuses = [];
      hostile.on("response", (response) => response.url() === target && statuses.push(response.status()));
      await hostile.evaluate(([target, body]) => fetch(target, { method: "POST", mode: "no-cors", credentials: "include", body }).catch(() => {}), [target, body]);
      await hostile.evaluate(([target, body]) => fetch(target, { method: "POST", credentials: "include", headers: { "content-type": "application/json" }, body }).catch(() => {}), [target, body]);
      const framing = hostile.evaluate((src) => void document.body.append(Object.assign(document.createElement("iframe"), { src })), `${url}/`);
      const [framed] = await Promise.all([hostile.waitForResponse(`${url}/`), framing]);
      assert.equal(framed.status(), 403);
      await Promise.all([hostile.waitForResponse(target), hostile.evaluate(() => document.forms[0].submit())]);
      assert.ok(statuses.length > 0 && statuses.every((status) => status === 403), statuses.join());
      // It stays open: closing a page that was refused a frame can take Chromium for ever.
      await page.bringToFront();
    } finally {
      evil.closeAllConnections();
      evil.close();
    }
    // Had it been ordered, the page would show it: the feed comes from the log.
    const before = await page.locator("[data-result]").first().getAttribute("data-result");
    await page.getByRole("button", { name: "Poll now" }).click();
    await page.waitForFunction((before) => document.querySelector("[data-result]").dataset.result !== before, before);
    assert.equal(await page.locator(".title .mark", { hasText: "Paused" }).count(), 0);
  });
}

async function signOut(page) {
  await during("who signs out is led to the form", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/sign-in");
  });
}

async function forget(page) {
  await during("a token that is forgotten orders nothing any more", async () => {
    await page.getByRole("button", { name: "Forget the token" }).click();
    await page.getByRole("button", { name: "Give orders…" }).waitFor();
    assert.equal(await page.locator("[data-operator]").count(), 0);
  });
}
