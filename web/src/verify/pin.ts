// Trust on first use: the verifier key this browser saw first is the one every later check is made with.

/** Where the key is kept. `localStorage` in the page. */
export type Store = Pick<Storage, "getItem" | "setItem">;

export type Pin = { vkey: string; first_seen: string };

export type Trust =
  /** Seen now for the first time; `kept` is false where the browser refuses to remember. */
  | { is: "first"; pin: Pin; kept: boolean }
  | { is: "same"; pin: Pin }
  | { is: "changed"; pin: Pin; offered: string };

const KEY = "sealwire.vkey";

/** Compares the key a site offers with the one kept, and keeps it where there is none. */
export function trustOnFirstUse(store: Store | null, offered: string, now: Date): Trust {
  const pin = load(store);
  if (pin === null) {
    const first = { vkey: offered, first_seen: now.toISOString() };
    return { is: "first", pin: first, kept: save(store, first) };
  }
  return pin.vkey === offered ? { is: "same", pin } : { is: "changed", pin, offered };
}

/** Trusts `vkey` from now on. Only ever at a person's word. */
export function replacePin(store: Store | null, vkey: string, now: Date): Trust {
  const pin = { vkey, first_seen: now.toISOString() };
  return { is: "first", pin, kept: save(store, pin) };
}

function load(store: Store | null): Pin | null {
  try {
    const pin: unknown = JSON.parse(store?.getItem(KEY) ?? "null");
    if (typeof pin !== "object" || pin === null) return null;
    const { vkey, first_seen } = pin as Partial<Pin>;
    return typeof vkey === "string" && typeof first_seen === "string" ? { vkey, first_seen } : null;
  } catch {
    return null;
  }
}

function save(store: Store | null, pin: Pin): boolean {
  try {
    store?.setItem(KEY, JSON.stringify(pin));
    return store !== null;
  } catch {
    return false;
  }
}
