// Parses as much of C2SP tlog-checkpoint and tlog-proof as the page needs to request the bundle and
// show the result. The verifier decides whether it is true.

export type Checkpoint = { origin: string; tree_size: number; root: string; text: string };

/** Far above any real checkpoint: an origin, a size, a hash and a few cosignatures. */
const CHECKPOINT_LENGTH_MAX = 64 * 1024;

export function parseCheckpoint(text: string): Checkpoint {
  if (text.length > CHECKPOINT_LENGTH_MAX) throw new Error("The checkpoint is too long.");
  const [origin = "", size = "", root = ""] = text.split("\n");
  const tree_size = Number(size);
  if (origin === "" || root === "" || !/^(0|[1-9][0-9]*)$/.test(size) || !Number.isSafeInteger(tree_size)) {
    throw new Error("The checkpoint does not begin with an origin, a tree size and a root hash.");
  }
  return { origin, tree_size, root, text };
}

/** The checkpoint at the end of a tlog-proof, after the first empty line. */
export function checkpointOfProof(proof: string): Checkpoint {
  const header_end = proof.indexOf("\n\n");
  if (!proof.startsWith("c2sp.org/tlog-proof@v1\n") || header_end < 0) throw new Error("The proof is not a C2SP tlog-proof file.");
  return parseCheckpoint(proof.slice(header_end + 2));
}
