import assert from "node:assert/strict";
import { test } from "node:test";
import type { SensorAnswer, SensorsAnswer } from "./api.ts";

const COUNT = 300;

const sensorOf = (number: number): SensorAnswer => ({
  id: `s${number}`,
  alias: `Sensor ${number}`,
  location: "Hall",
  state: "online",
  out_of_range: false,
  not_judged: false,
  paused: false,
  poll_interval_ms: 1000,
  orders: [],
  doubled: null,
  rule: null,
  unit: null,
  quantity: null,
  range: null,
  last: null,
  recent: [],
});

/** A site whose answers wait until `answer` is called. */
function fakeSite() {
  const waiting: { asked: URLSearchParams; answer: () => void }[] = [];
  const totals = { sensors: COUNT, online: COUNT, lost: 0, disconnected: 0, retired: 0, out_of_range: 0, attention: 0 };
  const fetch = (url: string): Promise<Response> =>
    new Promise((resolve) => {
      const asked = new URL(url, "http://site.test").searchParams;
      const found = Array.from({ length: COUNT }, (_, at) => sensorOf(at)).filter(({ alias, id }) => alias.includes(asked.get("text") ?? "") && id === (asked.get("id") ?? id));
      const offset = Number(asked.get("offset") ?? 0);
      const body: SensorsAnswer = {
        sensors: found.slice(offset, offset + Number(asked.get("limit") ?? 500)),
        next: null,
        found: found.length,
        totals,
        locations: [{ location: "Hall", sensors: COUNT, found: found.length }],
      };
      waiting.push({ asked, answer: () => resolve(new Response(JSON.stringify(body))) });
    });
  Object.assign(globalThis, { fetch, location: { href: "http://site.test/", hash: "" }, addEventListener: () => {} });
  return {
    waiting,
    /** Answers the next question once it has come, and waits until the answer is in. */
    async answer(): Promise<string> {
      const { asked, answer } = waiting.shift()!;
      answer();
      for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
      return asked.toString();
    },
  };
}

test("only the rows that are seen are fetched, and only they change", async () => {
  const { SensorList } = await import("./sensors.svelte.ts");
  const site = fakeSite();
  const list = new SensorList(() => null);
  list.list();
  void list.refresh();
  assert.equal(await site.answer(), "locations=true&offset=0&limit=100");
  assert.deepEqual([list.found, list.row(99)?.id, list.row(100), list.isWhole], [COUNT, "s99", undefined, false]);
  list.see(210, 240);
  assert.equal(await site.answer(), "offset=200&limit=50");
  assert.deepEqual([list.row(210)?.id, list.indexOf("s210"), list.row(250)], ["s210", 210, undefined]);
  // Meanwhile a person scrolls on: one question at a time, and the next is for where they stopped.
  list.see(100, 110);
  list.see(260, 280);
  assert.equal(site.waiting.length, 1);
  await site.answer();
  assert.equal(await site.answer(), "offset=250&limit=50");
  assert.equal(list.row(299)?.id, "s299");

  const held = list.row(260)!;
  const lost = { event: { action: "OUT_OF_RANGE" }, received_at: "", salt: "", sealwire: { sensor: "s260" } };
  assert.equal(list.apply("s260", [{ leaf: 1, envelope: lost }]), true);
  assert.equal(held.shown.out_of_range, true);
  assert.equal(list.apply("s199", [{ leaf: 2, envelope: lost }]), false);
});

test("an answer to an earlier filter is not taken for the present one", async () => {
  const { SensorList } = await import("./sensors.svelte.ts");
  const site = fakeSite();
  const list = new SensorList(() => null);
  list.list();
  void list.refresh();
  await site.answer();
  list.see(200, 220);
  list.filter.text = "Sensor 29";
  // Typing has begun; what is missing is still of the list that is shown.
  assert.equal(site.waiting[0]!.asked.get("text"), null);
  void list.refresh();
  assert.equal(site.waiting[1]!.asked.get("text"), "Sensor 29");
  const late = site.waiting.shift()!;
  list.see(0, 20);
  await site.answer();
  assert.deepEqual([list.found, list.row(0)?.id], [11, undefined]);
  late.answer();
  for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
  assert.equal(list.row(200), undefined);
  assert.equal(await site.answer(), "text=Sensor+29&offset=0&limit=50");
  assert.deepEqual([list.row(0)?.id, list.row(1)?.id, list.row(10)?.id], ["s29", "s290", "s299"]);
});

test("a list that nobody sees is fetched when it is seen again, and a sensor's own view meanwhile", async () => {
  const { SensorList } = await import("./sensors.svelte.ts");
  const site = fakeSite();
  const list = new SensorList(() => null);
  const leave = list.list();
  void list.refresh();
  await site.answer();
  leave();
  const close = list.open("s250");
  assert.equal(await site.answer(), "id=s250");
  assert.equal(list.sensor("s250")?.shown.alias, "Sensor 250");
  void list.refresh();
  assert.equal(await site.answer(), "id=s250");
  assert.equal(site.waiting.length, 0);
  close();
  list.list();
  assert.equal(await site.answer(), "locations=true&offset=0&limit=100");
});
