// The claim that the Verify dialog shows. Any row may open it; App.svelte holds the only dialog.

import type { Claim } from "./claim.ts";

let claim = $state.raw<Claim | null>(null);

export const verifyDialog = {
  get claim(): Claim | null {
    return claim;
  },
  open(of: Claim): void {
    claim = of;
  },
  close(): void {
    claim = null;
  },
};
