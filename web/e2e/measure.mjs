// Measures a whole site and prints the figures of docs/performance.md.
//
//   node e2e/measure.mjs BINARY
//
// Starts `BINARY up --simulate 40` twice in a temporary folder: first empty, then with the files of
// the first run. Then scrolls the page of a site with 10,000 simulated sensors, and the page alone
// with as many invented ones.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const [binary] = process.argv.slice(2);
const SENSORS = 40;
const LARGE = 10_000;
const LATENCY_SECONDS = 60;
const READY_TIMEOUT_MS = 120_000;

const folder = await mkdtemp(path.join(tmpdir(), "sealwire-measure-"));
/** Sites that were started. Ending a site that has already ended does no harm. */
const started = [];
const scriptsFolder = path.dirname(fileURLToPath(import.meta.url));

try {
  const first = await start();
  const page = await run("latency.mjs", "--url", first.addresses.http, "--seconds", LATENCY_SECONDS, "--sensors", SENSORS);
  const memory = await memoryByProgram(first.child.pid);
  const stopped_ms = await stop(first.child);
  const second = await start();
  await stop(second.child);
  const large = await start("large", LARGE);
  await until(`${LARGE} sensors are listed`, async () => {
    const answer = await fetch(`${large.addresses.http}/api/sensors?limit=1`);
    return (await answer.json()).totals?.sensors === LARGE;
  });
  const fleet = await run("fleet.mjs", "--url", large.addresses.http, "--sensors", LARGE, "--out", folder);
  await stop(large.child);
  const invented = await run("fleet.mjs", "--sensors", LARGE, "--out", folder);
  console.log(JSON.stringify({
    machine: { cpu: cpus()[0].model, cores: availableParallelism(), date: new Date().toISOString().slice(0, 10) },
    first_start: { answers_ms: first.ready_ms, first_reading_sealed_ms: first.first_reading_ms },
    second_start: { answers_ms: second.ready_ms, first_reading_sealed_ms: second.first_reading_ms },
    page_after_start_ms: first.ready_ms + page.page_ms,
    rss_mb: memory,
    sensor_to_page: { readings: page.count, p50_ms: page.p50_ms, p99_ms: page.p99_ms, max_ms: page.max_ms },
    stopped_ms,
    page_of_a_large_site: fleet,
    page_alone: invented,
  }, null, 2));
} finally {
  for (const child of started) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
}

/** Runs a script of this folder and returns the figures in its last line. */
async function run(script, ...options) {
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(scriptsFolder, script), ...options.map(String)]);
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

async function start(data = "data", sensors = SENSORS) {
  const readyFile = path.join(folder, "ready");
  const started_ms = Date.now();
  const ports = ["--http-port=0", "--log-port=0", "--nats-port=0", "--mqtt-port=0"];
  const child = spawn(
    binary,
    ["up", "--data-dir", path.join(folder, data), "--simulate", String(sensors), "--ready-file", readyFile, ...ports],
    { stdio: "ignore" },
  );
  started.push(child);
  await until("the site is ready", () => stat(readyFile).then(() => true, () => false));
  const ready_ms = Date.now() - started_ms;
  const addresses = JSON.parse(await readFile(readyFile, "utf8"));
  await rm(readyFile);
  // The log has the time at which its first reading since the start was sealed.
  const body = JSON.stringify({ action: "SENSOR_READING", from: new Date(started_ms).toISOString(), limit: 500 });
  let events = [];
  await until("a reading is found", async () => {
    const answer = await fetch(`${addresses.http}/api/logs`, { method: "POST", body });
    events = (await answer.json()).events ?? [];
    return events.length > 0;
  });
  const first_reading_ms = Date.parse(events.at(-1).envelope.received_at) - started_ms;
  return { child, addresses, ready_ms, first_reading_ms };
}

async function stop(child) {
  const asked_ms = Date.now();
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
  return Date.now() - asked_ms;
}

/** Resident memory in MB of the site's process and of its engines, by program. */
async function memoryByProgram(pid) {
  const { stdout } = await promisify(execFile)("ps", ["-e", "-o", "pid=,ppid=,rss=,comm="]);
  const rows = stdout.trim().split("\n").map((line) => line.trim().split(/\s+/));
  const ours = rows.filter(([own, parent]) => own === String(pid) || parent === String(pid));
  return Object.fromEntries(ours.map(([, , rss, program]) => [program, Math.round(Number(rss) / 102.4) / 10]));
}

async function until(what, condition) {
  const deadline_ms = Date.now() + READY_TIMEOUT_MS;
  while (!(await condition())) {
    if (Date.now() > deadline_ms) throw new Error(`waited ${READY_TIMEOUT_MS} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
