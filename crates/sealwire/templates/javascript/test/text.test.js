import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../src/text.js";

test("text is UTF-8, as TextEncoder writes it", () => {
  for (const text of ["", "plain", "23.5 °C, 温度, 🔥", "°".repeat(20_000)]) {
    assert.deepEqual(encode(text), new TextEncoder().encode(text));
    assert.equal(decode(encode(text)), text);
  }
});
