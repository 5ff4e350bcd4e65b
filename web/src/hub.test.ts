import assert from "node:assert/strict";
import { test } from "node:test";
import type { FeedState, SourceHandlers } from "./feed.ts";
import { HERE_PERIOD_MS, Hub, type FromHub, type ToHub } from "./hub.ts";

/** A hub whose feeds the test drives by hand. */
function hub() {
  const feeds: { from: number; handlers: SourceHandlers; open: boolean }[] = [];
  const soon: (() => void)[] = [];
  const made = new Hub(
    (_log, from, handlers) => {
      const feed = { from, handlers, open: false };
      feeds.push(feed);
      return { open: () => void (feed.open = true), pause: () => void (feed.open = false) };
    },
    (run) => soon.push(run),
  );
  let now_ms = 0;
  const flush = () => soon.splice(0).forEach((run) => run());
  const window = () => {
    const told: FromHub[] = [];
    const port = { postMessage: (message: FromHub) => void told.push(message) };
    const say = (message: ToHub) => made.hear(port, message, now_ms);
    return {
      told,
      follow: (from: number, log = "log", anew = false) => say({ is: "follow", log, from, anew }),
      leave: () => say({ is: "leave" }),
      leaves: () => told.flatMap((message) => (message.is === "sealed" ? message.events.map(([leaf]) => leaf) : [])),
    };
  };
  return {
    feeds,
    window,
    flush,
    open: () => feeds.filter((feed) => feed.open).length,
    seal: (from: number, to: number, data = "{}") => {
      for (let leaf = from; leaf < to; leaf++) feeds.at(-1)?.handlers.sealed(leaf, data);
      flush();
    },
    state: (state: FeedState) => feeds.at(-1)?.handlers.state(state),
    pass: (ms: number) => void (now_ms += ms),
  };
}

test("however many windows there are, there is one feed", () => {
  const { window, seal, open, feeds } = hub();
  const windows = Array.from({ length: 7 }, window);
  windows.forEach((one, index) => {
    one.follow(10);
    seal(10 + index, 11 + index);
  });
  assert.equal(feeds.length, 1);
  assert.equal(open(), 1);
  // Each window has every leaf once and in order, whenever it joined.
  for (const one of windows) assert.deepEqual(one.leaves(), [10, 11, 12, 13, 14, 15, 16]);
  windows.forEach((one) => one.leave());
  assert.equal(open(), 0, "nobody follows, and the connection is kept");
});

test("a burst is one message to a window", () => {
  const { window, seal } = hub();
  const one = window();
  one.follow(0);
  seal(0, 300);
  assert.equal(one.told.filter(({ is }) => is === "sealed").length, 1);
});

test("a window that comes later is told where it begins, and what it cannot have any more", () => {
  const { window, seal, state } = hub();
  const first = window();
  first.follow(100);
  state({ is: "live" });
  seal(100, 200);
  const second = window();
  second.follow(150);
  assert.deepEqual(second.leaves(), Array.from({ length: 50 }, (_, index) => 150 + index));
  assert.deepEqual(second.told.at(-1), { is: "state", state: { is: "live" } });
  const third = window();
  third.follow(60);
  assert.deepEqual(third.told[0], { is: "missed", from: 60, to: 100 });
  assert.equal(third.leaves().length, 100);
});

test("what is kept is bounded in number and in characters", () => {
  for (const [count, data] of [
    [10_000, "{}"],
    [20, "x".repeat(2_000_000)],
  ] as const) {
    const { window, seal } = hub();
    window().follow(0);
    seal(0, count, data);
    const late = window();
    late.follow(0);
    const [missed] = late.told;
    assert.ok(missed?.is === "missed" && missed.to > 0, "everything was kept");
    // The late window's leaves begin where the gap ends.
    assert.deepEqual(late.leaves(), Array.from({ length: count - missed.to }, (_, index) => missed.to + index));
    assert.ok(late.leaves().length * data.length <= 8_000_000);
    assert.ok(late.leaves().length <= 2_000);
  }
});

test("a window of another log, or of one that became shorter, begins anew", () => {
  const { window, seal, feeds, open } = hub();
  const [old, other, anew] = [window(), window(), window()];
  old.follow(1_000);
  seal(1_000, 1_010);
  other.follow(5, "another log");
  assert.deepEqual([feeds.length, open(), feeds.at(-1)?.from], [2, 1, 5]);
  assert.deepEqual(other.leaves(), []);
  seal(5, 8);
  anew.follow(2, "another log", true);
  assert.deepEqual([feeds.length, open(), feeds.at(-1)?.from], [3, 1, 2]);
  // Messages of an abandoned feed are ignored.
  feeds[1]?.handlers.sealed(8, "{}");
  seal(2, 4);
  assert.deepEqual(anew.leaves(), [2, 3]);
  // A repeated `follow` does not restart the feed.
  anew.follow(4, "another log");
  assert.equal(feeds.length, 3);
});

test("a window that crashed is not followed for ever, and one that says it is there gets a word", () => {
  const { window, pass, open } = hub();
  const [crashed, there] = [window(), window()];
  crashed.follow(0);
  there.follow(0);
  for (let periods = 0; periods < 5; periods++) {
    pass(HERE_PERIOD_MS);
    const words = there.told.length;
    there.follow(0);
    assert.equal(there.told.length, words + 1);
  }
  const told = crashed.told.length;
  there.leave();
  assert.equal(open(), 0, "the crashed window holds the feed");
  assert.equal(crashed.told.length, told);
});
