// The verifier component, in the browser. Its core module is fetched by the first check and compiled once.

import { instantiate } from "../verifier/verifier.js";
import core_url from "../verifier/verifier.core.wasm?url";

/** `step` of wit/verifier.wit. */
export type Step = { name: string; detail: string; passed: boolean };

export type LeafQuestion = { envelope: Uint8Array; proof: string; bundle: Uint8Array; vkey: string };

let compiled: Promise<WebAssembly.Module> | null = null;

async function compile(): Promise<WebAssembly.Module> {
  const response = await fetch(core_url);
  if (!response.ok) throw new Error(`The verifier cannot be loaded: ${response.status} ${response.statusText}`);
  // Not `compileStreaming`, which insists on a media type.
  return WebAssembly.compile(await response.arrayBuffer());
}

/** A fresh instance for every check: one that trapped is not to be used again, and they cost a millisecond. */
export async function verifyLeaf({ envelope, proof, bundle, vkey }: LeafQuestion): Promise<Step[]> {
  compiled ??= compile();
  try {
    const core = await compiled;
    const { check } = await instantiate(() => core, {});
    return check.verifyLeaf(envelope, proof, bundle, vkey);
  } catch (error) {
    compiled = null;
    throw error;
  }
}
