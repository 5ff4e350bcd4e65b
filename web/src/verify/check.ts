// One press of Verify: collects the evidence from the gateway and the log, lets the verifier check
// it, and compares it with what the page shows.

import { ApiError, fetchOk, fetchProof, logUrl, reason, type Envelope } from "../api.ts";
import { marked } from "../said.ts";
import { checkpointOfProof, parseCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { differences, type Claim } from "./claim.ts";
import { bundlePaths } from "./tile.ts";
import type { Key, LeafQuestion, Step } from "./verifier.ts";

export type Evidence = {
  leaf: number;
  envelope: string;
  proof: string;
  checkpoint: Checkpoint;
  bundle: Uint8Array;
  bundle_path: string;
  /**
   * The log's own newest checkpoint, or the error message if it is not available. The proof does
   * not need it.
   */
  newest: Checkpoint | string;
};

export type Verdict = {
  steps: Step[];
  /** All steps passed, and the verifier made at least one of them. */
  passed: boolean;
  /** The envelope, if it was proved to be the leaf. */
  sealed: Envelope | null;
  /**
   * Set if a sensor's reading was sealed under another name than the page shows for the sensor. A
   * renamed sensor causes this, but so would a page that shows one sensor as another.
   */
  renamed: { sealed: string; shown: string } | null;
};

export async function gather(leaf: number, log: string): Promise<Evidence> {
  const log_url = logUrl(log);
  const newest = fetchNewest(log_url);
  const { envelope, proof } = await fetchProof(log, leaf);
  const checkpoint = checkpointOfProof(proof);
  if (leaf >= checkpoint.tree_size) throw new Error(`The proof's checkpoint covers ${checkpoint.tree_size} leaves, so it does not cover leaf ${leaf}.`);
  const { bundle, bundle_path } = await fetchBundle(leaf, checkpoint.tree_size, log_url);
  return { leaf, envelope, proof, checkpoint, bundle, bundle_path, newest: await newest };
}

export async function judge(
  evidence: Evidence,
  key: Key,
  claim: Claim,
  verifyLeaf: (question: LeafQuestion) => Promise<Step[]>,
): Promise<Verdict> {
  const { leaf, proof, bundle } = evidence;
  const checked = await verifyLeaf({ leaf, envelope: new TextEncoder().encode(evidence.envelope), proof, bundle, key });
  // A verifier that makes no checks has not passed.
  const is_proved = checked.length > 0 && checked.every((step) => step.passed);
  const envelope = parsed(evidence.envelope);
  const shown = asShown(envelope === null ? null : claim.again({ leaf, envelope }), claim);
  const source = envelope?.event.source ?? "";
  return {
    steps: [shown, ...checked],
    passed: is_proved && shown.passed,
    sealed: is_proved ? envelope : null,
    renamed: claim.source === undefined || claim.source === source ? null : { sealed: source, shown: claim.source },
  };
}

function parsed(text: string): Envelope | null {
  try {
    const envelope = JSON.parse(text) as Envelope | null;
    return typeof envelope?.event === "object" && envelope.event !== null ? envelope : null;
  } catch {
    return null;
  }
}

/** `again` is the row made from the proved envelope; null if the envelope makes no such row. */
function asShown(again: unknown, { shown }: Claim): Step {
  const name = "The sealed event matches what this page shows";
  if (again === null) return { name, detail: "The event that was sealed at this leaf is of another kind.", passed: false };
  const different = differences(again, shown);
  if (different.length === 0) return { name, detail: "Every field is the same.", passed: true };
  return { name, detail: different.map(({ field, sealed, shown }) => `${marked(field)}: sealed ${marked(sealed)}, shown ${marked(shown)}`).join("\n"), passed: false };
}

async function fetchBundle(leaf: number, tree_size: number, log_url: string): Promise<Pick<Evidence, "bundle" | "bundle_path">> {
  const { path, full_path } = bundlePaths(leaf, tree_size);
  const fetchBytes = async (bundle_path: string) => ({
    bundle: new Uint8Array(await (await fetchOk(log_url + bundle_path)).arrayBuffer()),
    bundle_path,
  });
  try {
    return await fetchBytes(path);
  } catch (error) {
    if (path === full_path || !(error instanceof ApiError && error.status === 404)) throw error;
    return fetchBytes(full_path);
  }
}

async function fetchNewest(log_url: string): Promise<Checkpoint | string> {
  try {
    return parseCheckpoint(await (await fetchOk(`${log_url}/checkpoint/unwitnessed`)).text());
  } catch (error) {
    return reason(error);
  }
}
