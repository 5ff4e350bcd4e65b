// Searches what a mirror delivered with the official Node SDK, unmodified, which verifies each event: mirrored.mjs BASE TOKEN COUNT.
//
// Prints how many events it verified, which are at least COUNT.
import assert from "node:assert/strict";
import { AuditService, PangeaConfig } from "pangea-node-sdk";

const [base, token, count] = process.argv.slice(2);
// arweave.net knows of no root of a self-hosted log, so the SDK asks the server for them.
const reach = globalThis.fetch;
const none = () => Promise.resolve(new Response('{"data":{"transactions":{"edges":[]}}}'));
globalThis.fetch = (address, options) => (String(address).startsWith("https://arweave.net") ? none() : reach(address, options));

const audit = new AuditService(token, new PangeaConfig({ baseUrlTemplate: base }));
const found = (await audit.search("", { limit: 1, order: "asc" }, {})).result;
let verified = 0;
while (verified < found.count) {
  const { events } = (await audit.results(found.id, 100, verified, { verifyConsistency: true })).result;
  for (const one of events) {
    const shown = [one.membership_verification, one.consistency_verification];
    assert.deepEqual(shown, ["pass", "pass"], JSON.stringify(one));
  }
  verified += events.length;
}
assert.ok(verified >= Number(count), String(verified));
console.log(verified);
