// Tests the page of a running site while its log changes its key, and when the page shows another
// log than the one that the browser knows.
//
//   node e2e/keys.mjs --url http://127.0.0.1:8080 --sealwire target/debug/sealwire --data-dir sealwire-data [--out DIR] [--timeout 60]
//
// Nothing sleeps. Exit code 1 and the failed step on failure.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { check, during, launch, options } from "./browser.mjs";

const { url, sealwire, "data-dir": data_dir, out, timeout } = options({ url: "http://127.0.0.1:8080", sealwire: "", "data-dir": "", out: "test-results", timeout: "60" });
await mkdir(out, { recursive: true });
const browser = await launch();

await check(browser, { out }, async () => {
  await rotations();
  await warnings();
  console.log("Keys are followed, and nothing else is");
});

/** A page in a browser that has stored `kept`. `lie` changes the answers to `/keys`. */
async function open(kept = {}, lie = (answer) => answer) {
  const context = await browser.newContext({ reducedMotion: "reduce" });
  context.setDefaultTimeout(Number(timeout) * 1000);
  const page = await context.newPage();
  await page.addInitScript((kept) => Object.entries(kept).forEach(([name, value]) => localStorage.getItem(name) ?? localStorage.setItem(name, value)), kept);
  await page.route(/\/keys$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: lie(await response.json()) });
  });
  await page.goto(`${url}/#/log`);
  return page;
}

async function verified(page) {
  await page.locator("[data-verify]").first().click();
  await page.waitForFunction(() => !["pending", undefined].includes(document.querySelector("dialog")?.dataset.outcome));
  const outcome = await page.locator("dialog").getAttribute("data-outcome");
  const said = await page.locator("dialog").innerText();
  await page.keyboard.press("Escape");
  return { outcome, said };
}

async function passes(page, words) {
  const { outcome, said } = await verified(page);
  assert.equal(outcome, "passed", said);
  assert.ok(said.includes(words), said);
  assert.equal(await page.locator("[data-trust], .problem").count(), 0, "the page warns");
}

async function vkey() {
  return (await (await fetch(`${url}/api/site`)).json()).vkey;
}

async function rotations() {
  const [page, before] = [await open(), await vkey()];
  await during("the first key is kept", () => passes(page, "Trusted on first use"));
  execFileSync(sealwire, ["log", "rotate-key", "--data-dir", data_dir, "--actor", "ada"]);
  await during("a log that changes its key is followed while the page is open", () => passes(page, "since leaf"));
  await page.reload();
  await during("and when the page comes back", async () => {
    await passes(page, "since leaf");
    assert.notEqual(await vkey(), before);
  });
  const kept = { "sealwire.vkey": JSON.stringify({ vkey: before, first_seen: "2026-01-01T00:00:00.000Z" }) };
  await during("a key that an earlier version of the page kept is followed too", async () => passes(await open(kept), "since leaf"));
}

async function warnings() {
  const [now, log] = [await vkey(), "0".repeat(64)];
  const kept = (address, leaf, name) => ({
    "sealwire.trust": JSON.stringify({ logs: { [log]: { key: { leaf, vkey: name }, first_seen: "2026-01-01T00:00:00.000Z" } }, addresses: { [`${url}/`]: address } }),
  });
  await during("another log at this address is told, and trusted at a person's word alone", async () => {
    const page = await open(kept(log, 0, `${now.split("+")[0]}+11111111+AQ`));
    await page.waitForSelector('[data-trust="other_log"]');
    await page.screenshot({ path: path.join(out, "other-log.png") });
    assert.equal((await verified(page)).outcome, "failed");
    const accept = page.getByRole("button", { name: "Trust this log" });
    assert.ok(await accept.isDisabled());
    await page.getByLabel("I have compared").check();
    await accept.click();
    await passes(page, "Trusted on first use");
    await page.reload();
    await passes(page, "This browser first saw this log at");
  });
  const old = { "sealwire.vkey": JSON.stringify({ vkey: `${now.split("+")[0]}+11111111+AQ`, first_seen: "2026-01-01T00:00:00.000Z" }) };
  await during("a key that an earlier version kept and that never signed this log is told", async () => (await open(old)).waitForSelector('[data-trust="other_log"]'));
  for (const [name, lie] of [
    ["an event that names a key and is not in the log", ({ keys }) => ({ keys: keys.map(({ envelope, ...key }) => ({ ...key, envelope: envelope.replace(' as ada"', ' as eve"') })) })],
    ["the proof of another leaf", ({ keys }) => ({ keys: keys.map((key) => ({ ...key, proof: keys[0].proof })) })],
    ["a rotation that is left out", ({ keys }) => ({ keys: keys.slice(0, 1) })],
  ]) {
    await during(`the keys are not believed with ${name}`, async () => {
      const page = await open({}, lie);
      await page.waitForSelector("[data-verify]");
      const { outcome, said } = await verified(page);
      assert.equal(outcome, "error", said);
      assert.equal(await page.evaluate(() => localStorage.getItem("sealwire.trust")), null);
    });
  }
}
