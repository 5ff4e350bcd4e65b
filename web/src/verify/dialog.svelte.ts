// Which claim the Verify dialog is about. Any row may open it; App.svelte holds the one dialog.

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
