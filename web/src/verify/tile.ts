// The paths of entry bundles (C2SP tlog-tiles).

/** Number of entries in a full bundle. */
export const BUNDLE_WIDTH = 256;

/**
 * An index in the form of tlog-tiles: groups of three digits, all but the last prefixed with `x`.
 */
export function tileIndexPath(index: number): string {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`${index} is not a tile index`);
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/\d{3}/g) ?? [];
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
}

export type BundlePaths = {
  path: string;
  /**
   * Path to try if `path` is no longer served: a log may delete a partial bundle once the full one
   * exists.
   */
  full_path: string;
};

/** The bundle that holds `leaf` in a tree of `tree_size` leaves. */
export function bundlePaths(leaf: number, tree_size: number): BundlePaths {
  if (!Number.isSafeInteger(leaf) || leaf < 0 || leaf >= tree_size) throw new RangeError(`leaf ${leaf} is not in a tree of ${tree_size}`);
  const index = Math.floor(leaf / BUNDLE_WIDTH);
  const full_path = `/tile/entries/${tileIndexPath(index)}`;
  const width = Math.min(BUNDLE_WIDTH, tree_size - index * BUNDLE_WIDTH);
  return { path: width === BUNDLE_WIDTH ? full_path : `${full_path}.p/${width}`, full_path };
}
