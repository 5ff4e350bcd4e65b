import assert from "node:assert/strict";
import { test } from "node:test";

import { process } from "../src/process.js";

test("large values are doubled", () => {
  const derived = (value) => process({ leaf: 7, value, unit: "bar" });
  assert.deepEqual(derived("50.5"), [{ from_leaf: 7, value: "101", unit: "bar" }]);
  assert.deepEqual(derived("49"), []);
  assert.deepEqual(derived("warm"), []);
  assert.deepEqual(derived(undefined), []);
});
