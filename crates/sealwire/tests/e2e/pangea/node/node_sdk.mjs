// Drives a site with the official Node SDK, unmodified, verification and signing on: node_sdk.mjs BASE TOKEN CONFIG_ID PYTHON BETWEEN.
//
// BETWEEN is `between.py`, which PYTHON runs: a stand-in of arweave.net that can also lose answers and change bytes of them. Any check that fails ends this with
// an error.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import { createInterface } from "node:readline";
import zlib from "node:zlib";
import { AuditService, PangeaConfig } from "pangea-node-sdk";

const [base, token, configId, python, proxyScript] = process.argv.slice(2);
const proxy = spawn(python, [proxyScript, base.replace("http://", "")], { stdio: ["pipe", "pipe", "inherit"] });
const lines = createInterface({ input: proxy.stdout })[Symbol.asyncIterator]();
const between = (await lines.next()).value;
const tell = async (what) => {
  proxy.stdin.write(JSON.stringify(what) + "\n");
  await lines.next();
};

// What goes to arweave.net goes to the stand-in; everything else of the SDK is as it was published.
const reach = globalThis.fetch;
globalThis.fetch = (address, options) => reach(String(address).replace("https://arweave.net", between), options);

const audit = new AuditService(token, new PangeaConfig({ baseUrlTemplate: base }), undefined, configId);
const flaky = new AuditService(token, new PangeaConfig({ baseUrlTemplate: between }));
const verified = (one) => [one.membership_verification, one.consistency_verification, one.signature_verification];
const actor = `node-${process.pid}-${Date.now()}`;
const raises = async (name, call) => assert.equal(await call().then(() => "nothing", (error) => error.name), name);

const key = crypto.generateKeyPairSync("ed25519");
const signer = {
  sign: (data) => crypto.sign(null, Buffer.from(data), key.privateKey).toString("base64"),
  getPublicKey: () => key.publicKey.export({ type: "spki", format: "pem" }),
  getAlgorithm: () => "ED25519",
};

async function logging() {
  let { result } = await audit.log({ message: "first", actor }, { verify: true });
  assert.deepEqual(verified(result), ["pass", "none", "none"]);
  // Its parser takes such texts for JSON, and must hash what was sealed all the same.
  const texts = [
    "1", "23.50", "true", "null", '"q"', '{"b":1, "a":2}', '{"a":1,"b":[1,2]}', "[1.0]", "<&>\u2028\u{1F600}\x7f", '{"message":"1"}', "", "-0",
    '{"a":1.50}', '"\\"1\\""', "plain words", '"\\ud800"',
  ];
  for (const text of texts) {
    ({ result } = await audit.log({ message: text, new: text, old: text, actor }, { verify: true }));
    assert.deepEqual(verified(result), ["pass", "pass", "none"], text);
  }
  ({ result } = await audit.log({ message: { b: 1, a: { message: "1", z: "x" } }, timestamp: new Date() }, { verify: true }));
  assert.deepEqual(verified(result), ["pass", "pass", "none"]);
  const signed = [
    { message: "signed" },
    { message: "1", new: { x: 1.5 }, timestamp: new Date() },
    { message: "<&>", timestamp: "2026-01-01T00:00:00.123Z" },
    { message: '{"b":1, "a":2}' },
  ];
  for (const event of signed) {
    ({ result } = await audit.log({ ...event, actor }, { verify: true, signer, publicKeyInfo: { who: "me" } }));
    assert.deepEqual(verified(result), ["pass", "pass", "pass"], JSON.stringify(event));
  }
}

async function bulk() {
  const { result } = await audit.logBulk([{ message: "b1" }, { message: "2" }], { verbose: true, signer });
  assert.deepEqual(result.results.map((one) => one.signature_verification), ["pass", "pass"]);
  const taken = await audit.logBulkAsync([{ message: "async" }], { verbose: true });
  assert.deepEqual([taken.status, taken.accepted_result.retry_counter], ["Accepted", 0]);
  assert.equal((await audit.pollResult(taken.request_id)).result.results.length, 1);
}

async function searching() {
  const found = (await audit.search("", { limit: 10 }, { verifyConsistency: true })).result;
  const page = (await audit.results(found.id, 500, 10, { verifyConsistency: true })).result;
  for (const one of [...found.events, ...page.events]) {
    assert.deepEqual(verified(one).slice(0, 2), ["pass", "pass"], JSON.stringify(one));
  }
  assert.equal(page.events.at(-1).leaf_index, 0);
  const own = (await audit.search(`actor:${actor} message:"plain words"`, { search_restriction: { actor: [actor] } }, {})).result;
  assert.equal(own.count, 1);
  await raises("PangeanAPIError", () => audit.results(found.id, 5, 1_000_000));
  await raises("NotFound", () => audit.results("pas_x"));
}

async function roots() {
  assert.ok((await audit.root()).result.data.size > 5);
  assert.equal((await audit.root(3)).result.data.size, 3);
  await raises("PangeanAPIError", () => audit.root(1_000_000_000));
}

async function refusals() {
  await raises("UnauthorizedError", () => new AuditService("wrong", new PangeaConfig({ baseUrlTemplate: base })).root());
  await raises("ValidationError", () => audit.log({ nope: 1 }));
  await raises("NotFound", () => audit.pollResult("prq_x"));
}

async function retries() {
  const count = async () => (await audit.search(`actor:${actor} message:retried`, {}, {})).result.count;
  await tell({ lose: [500, 503] });
  const { result } = await flaky.log({ message: "retried", actor }, { verify: true });
  assert.equal(result.membership_verification, "pass");
  assert.equal(await count(), 1);
  await tell({ lose: [503, 503, 503, 503] });
  await raises("ServiceTemporarilyUnavailable", () => flaky.log({ message: "retried in vain", actor }));
  assert.equal(await count(), 2);
}

async function exporting() {
  const taken = await audit.export({ verbose: false });
  assert.equal(taken.status, "Accepted");
  await audit.pollResult(taken.request_id);
  const wanted = await audit.downloadResults({ request_id: taken.request_id });
  const file = await audit.downloadFile(new URL(wanted.result.dest_url));
  assert.match(zlib.gunzipSync(Buffer.from(file.file)).toString(), /^leaf_index,hash,received_at,action,actor,/);
  assert.equal((await audit.logStream({ logs: [] })).status, "Success");
}

async function tampering() {
  await tell({ replace: ["plain words", "plain wordz"] });
  await raises("PangeaAuditEventError", () => flaky.search(`actor:${actor} message:"plain words"`, {}, {}));
  await tell({});
}

for (const check of [logging, bulk, searching, roots, refusals, retries, exporting, tampering]) {
  const begin = Date.now();
  await check();
  console.log(`${check.name}: ok, ${Date.now() - begin} ms`);
}
proxy.stdin.end();
proxy.kill();
