// Which leaf the Verify dialog is about. Any row may open it; App.svelte holds the one dialog.

import type { Shown } from "./check.ts";

export type VerifyRequest = { leaf: number; shown: Shown };

let request = $state.raw<VerifyRequest | null>(null);

export const verifyDialog = {
  get request(): VerifyRequest | null {
    return request;
  },
  open(leaf: number, shown: Shown): void {
    request = { leaf, shown };
  },
  close(): void {
    request = null;
  },
};
