// The verifier component in the browser. The first check fetches its core module and compiles it
// once.

import { instantiate } from "../verifier/verifier.js";
import { fetchOk } from "../api.ts";
import core_url from "../verifier/verifier.core.wasm?url";

/** `step` of wit/verifier.wit. */
export type Step = { name: string; detail: string; passed: boolean };

/** `key` of wit/verifier.wit: a key that signs a log, and the leaf that names it. */
export type Key = { leaf: number; vkey: string };

export type LeafQuestion = { leaf: number; envelope: Uint8Array; proof: string; bundle: Uint8Array; key: Key };

/** An event that names a key, from the log's `/keys`. */
export type KeyEvent = { leaf: number; envelope: Uint8Array; proof: string };

let compiled: Promise<WebAssembly.Module> | null = null;

async function compile(): Promise<WebAssembly.Module> {
  // `compileStreaming` would require a media type.
  return WebAssembly.compile(await (await fetchOk(core_url)).arrayBuffer());
}

/**
 * A new instance for every check: an instance that trapped must not be used again, and a new one
 * costs a millisecond.
 */
async function fresh() {
  compiled ??= compile();
  try {
    const core = await compiled;
    const { check } = await instantiate(() => core, {});
    return check;
  } catch (error) {
    compiled = null;
    throw error;
  }
}

export async function verifyLeaf({ leaf, envelope, proof, bundle, key }: LeafQuestion): Promise<Step[]> {
  const check = await fresh();
  return check.verifyLeaf(BigInt(leaf), envelope, proof, bundle, { leaf: BigInt(key.leaf), vkey: key.vkey });
}

/**
 * The keys that have signed a log, in order, each proved. Throws an error with a message if a proof
 * fails.
 */
export async function followKeys(events: readonly KeyEvent[]): Promise<Key[]> {
  const check = await fresh();
  try {
    const keys = check.followKeys(events.map(({ leaf, ...event }) => ({ leaf: BigInt(leaf), ...event })));
    return keys.map(({ leaf, vkey }) => ({ leaf: Number(leaf), vkey }));
  } catch (error) {
    const words = (error as { payload?: unknown }).payload;
    throw typeof words === "string" ? new Error(`The log's keys do not verify: ${words}.`) : error;
  }
}
