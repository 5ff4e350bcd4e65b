// Opens the page of a running site in all the ways that people do: in seven windows, through a
// tunnel, behind proxies.
//
//   node e2e/windows.mjs --url http://127.0.0.1:8080 --out DIR --name plant.example [--timeout 60]
//
// The site must run with `--page-host NAME`. Nothing sleeps: every step waits for a condition, `timeout` seconds at most. Exit code 1 and the failed step
// on failure.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { check, during, launch, options } from "./browser.mjs";

const { url, out, name, timeout } = options({ url: "http://127.0.0.1:8080", out: "test-results", name: "plant.example", timeout: "60" });
/** One more than the number of connections that a browser opens to a host. */
const WINDOWS = 7;
const STRANGER = "mill.example";
const site = new URL(url);

await mkdir(out, { recursive: true });
const browser = await launch([`--host-resolver-rules=MAP ${name} 127.0.0.1, MAP ${STRANGER} 127.0.0.1`]);
const servers = [];

await check(browser, { out }, async () => {
  await many_windows();
  await without_shared_workers();
  await through_a_tunnel();
  await behind_proxies_that_keep_the_feed();
  await when_answers_do_not_come();
  await an_address_names_its_log();
  console.log("The page works in every window and from every place");
});
for (const server of servers) {
  server.closeAllConnections?.();
  server.close();
}

async function new_context() {
  const context = await browser.newContext({ reducedMotion: "reduce", viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(Number(timeout) * 1000);
  return context;
}

async function open(context, base = url) {
  const page = await context.newPage();
  await page.goto(`${base}/#/`);
  return page;
}

async function live(page) {
  await page.waitForSelector('[data-feed="live"]');
}

/** Waits for readings: the newest leaf that the page has applied must grow. */
async function grows(page) {
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        let batches = 0;
        addEventListener("sealwire:applied", () => ++batches === 3 && resolve());
      }),
  );
}

async function verify(page) {
  await page.goto(`${new URL(page.url()).origin}/#/log`);
  await page.getByLabel("Hide readings").uncheck();
  await page.waitForSelector("[data-verify]");
  await page.locator("[data-verify]").first().click();
  return outcome(page);
}

async function outcome(page) {
  await page.waitForSelector('dialog[data-outcome="passed"], dialog[data-outcome="failed"], dialog[data-outcome="error"]');
  return page.locator("dialog").getAttribute("data-outcome");
}

async function verifies(page) {
  assert.equal(await verify(page), "passed", await page.locator("dialog .outcome").innerText());
}

async function many_windows() {
  const context = await new_context();
  // The requests of the window itself, without those of the shared worker.
  const feeds = [];
  context.on("request", (request) => new URL(request.url()).pathname.endsWith("/live") && feeds.push(request.url()));
  const pages = [];
  await during(`${WINDOWS} windows, each live, and readings in each`, async () => {
    for (let count = 0; count < WINDOWS; count++) pages.push(await open(context));
    await Promise.all(pages.map(live));
    await Promise.all(pages.map(grows));
    assert.equal(feeds.length, 0, "a window has a feed of its own");
  });
  await during("Verify in the last of them", () => verifies(pages.at(-1)));
  await pages.at(-1).screenshot({ path: path.join(out, "seventh-window.png") });
  await during("the feed outlives the window that was first, and all but one", async () => {
    for (const page of pages.splice(0, WINDOWS - 1)) await page.close();
    await grows(pages[0]);
  });
  await context.close();
}

async function without_shared_workers() {
  const context = await new_context();
  await context.addInitScript(() => delete globalThis.SharedWorker);
  await during("a browser without shared workers", async () => {
    const page = await open(context);
    await live(page);
    await grows(page);
  });
  await context.close();
}

async function listen(server) {
  servers.push(server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

/** Forwards bytes, as `ssh -L` does. */
async function through_a_tunnel() {
  const tunnel = net.createServer((near) => {
    const far = net.connect(Number(site.port), site.hostname);
    near.pipe(far).pipe(near);
    for (const end of [near, far]) end.on("error", () => [near, far].forEach((socket) => socket.destroy()));
  });
  const port = await listen(tunnel);
  for (const host of ["localhost", name]) {
    const context = await new_context();
    await during(`through a tunnel from another port, as ${host}: live, and Verify`, async () => {
      const page = await open(context, `http://${host}:${port}`);
      await live(page);
      await grows(page);
      await verifies(page);
    });
    await context.close();
  }
  await during("under a name that the site was not told, it says which option lets it in", async () => {
    const context = await new_context();
    const page = await context.newPage();
    const refusal = await page.goto(`http://${STRANGER}:${port}/`);
    assert.equal(refusal.status(), 421);
    assert.ok((await page.locator("body").innerText()).includes(`--page-host ${STRANGER}`));
    await context.close();
  });
}

/** A reverse proxy that handles the feed with `feed`. */
function proxy(feed) {
  return http.createServer((request, answer) => {
    if (/\/live(\?|$)/.test(request.url)) return feed(answer);
    const { method, headers, url: path } = request;
    const onward = http.request({ host: site.hostname, port: site.port, method, path, headers }, (answered) => {
      answer.writeHead(answered.statusCode, answered.headers);
      answered.pipe(answer);
    });
    onward.on("error", () => answer.destroy());
    request.pipe(onward);
  });
}

async function behind_proxies_that_keep_the_feed() {
  const refuses = (answer) => {
    answer.writeHead(403, { "content-type": "application/problem+json" });
    answer.end(JSON.stringify({ title: "Forbidden", status: 403, detail: "this proxy lets no streams through" }));
  };
  const holds_back = () => {};
  for (const [words, feed, why] of [
    ["refuses the feed", refuses, "this proxy lets no streams through"],
    ["holds the feed back", holds_back, "may be buffering it"],
  ]) {
    const context = await new_context();
    await during(`behind a proxy that ${words}, the page says so and goes on`, async () => {
      const page = await open(context, `http://localhost:${await listen(proxy(feed))}`);
      await page.getByText("There is no live feed").waitFor();
      await page.getByText(why).waitFor();
      await page.waitForSelector("[data-sensor]");
      await page.screenshot({ path: path.join(out, `proxy-${words.split(" ")[0]}.png`) });
      await verifies(page);
    });
    await context.close();
  }
}

/** A link shows the log that it names, or none. */
async function an_address_names_its_log() {
  const context = await new_context();
  await during("an address names its log: it shows that one or none", async () => {
    const page = await open(context);
    const row = page.locator("[data-sensor]").first();
    await row.waitFor();
    const { log } = await (await fetch(`${url}/api/site`)).json();
    await page.locator(`a[href^="#/logs/${log}/sensors/"]`).first().click();
    await page.waitForSelector("tr[data-leaf]");
    await page.goto(`${url}/#/logs/${log}/events`);
    await page.waitForSelector("[data-action]");
    const other = "0".repeat(64);
    await page.goto(`${url}/#/logs/${other}`);
    await page.getByText(`there is no log ${other} here`).waitFor();
    assert.equal(await page.locator("[data-sensor]").count(), 0);
    await page.getByText("Show this site's own log").click();
    await row.waitFor();
    await verifies(page);
  });
  await context.close();
}

/** Every request of a check has a time limit, and the page reports it. */
async function when_answers_do_not_come() {
  const never = ["**/proof/*", "**/tile/**", "**/*.wasm"];
  const context = await new_context();
  await during(`Verify ends where one of these never answers: ${never.join(" ")}`, async () => {
    await Promise.all(
      never.map(async (pattern) => {
        const page = await context.newPage();
        // This must happen before the page is opened: the page loads the verifier at once, to
        // follow the log's keys.
        await page.route(pattern, () => {});
        await page.goto(`${url}/#/`);
        assert.equal(await verify(page), "error", pattern);
        assert.ok((await page.locator("dialog .outcome").innerText()).includes("did not answer within"), pattern);
      }),
    );
  });
  await context.close();
}
