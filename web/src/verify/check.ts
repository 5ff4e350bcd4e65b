// One press of Verify: gather the evidence from both ports, let the verifier judge it, and compare it with what the page shows.

import { ApiError, fetchOk, fetchProof, reason, type LogEvent } from "../api.ts";
import { checkpointOfProof, parseCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { bundlePaths } from "./tile.ts";
import type { LeafQuestion, Step } from "./verifier.ts";

/** What the page shows of the leaf. A proof of something else would be worth nothing. */
export type Shown = Pick<LogEvent, "status" | "timestamp" | "new" | "action" | "source">;

export type Evidence = {
  leaf: number;
  envelope: string;
  proof: string;
  checkpoint: Checkpoint;
  bundle: Uint8Array;
  bundle_path: string;
  /** The log's own checkpoint now; the words of the failure where it could not be had. The proof does not need it. */
  newest: Checkpoint | string;
};

export type Verdict = { steps: Step[]; passed: boolean };

export async function gather(leaf: number, log_url: string): Promise<Evidence> {
  const newest = fetchNewest(log_url);
  const { envelope, proof } = await fetchProof(leaf);
  const checkpoint = checkpointOfProof(proof);
  if (leaf >= checkpoint.tree_size) throw new Error(`The proof's checkpoint covers ${checkpoint.tree_size} leaves, so leaf ${leaf} is not among them.`);
  const { bundle, bundle_path } = await fetchBundle(leaf, checkpoint.tree_size, log_url);
  return { leaf, envelope, proof, checkpoint, bundle, bundle_path, newest: await newest };
}

export async function judge(
  evidence: Evidence,
  vkey: string,
  shown: Shown,
  verifyLeaf: (question: LeafQuestion) => Promise<Step[]>,
): Promise<Verdict> {
  const { envelope, proof, bundle } = evidence;
  const checked = await verifyLeaf({ envelope: new TextEncoder().encode(envelope), proof, bundle, vkey });
  const steps = [askedLeaf(evidence), asShown(envelope, shown), ...checked];
  // A verifier that checks nothing has not passed.
  return { steps, passed: checked.length > 0 && steps.every((step) => step.passed) };
}

/** The verifier takes the leaf from the proof; that this is the one that was asked for, only the page can know. */
function askedLeaf({ leaf, proof }: Evidence): Step {
  const index = /^index (\d+)$/m.exec(proof.slice(0, proof.indexOf("\n\n")))?.[1];
  return {
    name: "The proof is for the leaf that was asked for",
    detail: index === undefined ? "The proof names no leaf." : `Asked for leaf ${leaf}; the proof is for leaf ${index}.`,
    passed: index === String(leaf),
  };
}

function asShown(envelope: string, shown: Shown): Step {
  const name = "The sealed event says what this page shows";
  let event: LogEvent;
  try {
    event = (JSON.parse(envelope) as { event: LogEvent }).event;
  } catch {
    return { name, detail: "The envelope is not JSON.", passed: false };
  }
  const fields = Object.keys(shown) as (keyof Shown)[];
  const different = fields.filter((field) => !same(field, event[field] ?? "", shown[field] ?? ""));
  if (different.length === 0) return { name, detail: fields.map((field) => `${field}: ${event[field] ?? "–"}`).join("\n"), passed: true };
  return {
    name,
    detail: different.map((field) => `${field}: sealed ${event[field] ?? "–"}, shown ${shown[field] ?? "–"}`).join("\n"),
    passed: false,
  };
}

/** The index may write the same moment with more or fewer digits than the poller did. */
const same = (field: keyof Shown, sealed: string, seen: string): boolean =>
  sealed === seen || (field === "timestamp" && Date.parse(sealed) === Date.parse(seen));

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
