// Decides which log an address shows, and which key the browser trusts for it.
//
// A log is identified by its LogId, the SHA-256 of its first verifier key. For each log, the
// browser stores the newest key that it has followed; for each address, it stores which log the
// address showed. So the browser can follow a log whose operator rotates the key, from the stored
// key and by statements with the signatures of both keys. It also notices a log that does not lead
// on from the stored key, and another log at the same address.
//
// Nothing here verifies a signature: the keys come from `followKeys` of the verifier, which has
// proved them.

import { sha256Hex } from "./sha256.ts";
import type { Key } from "./verifier.ts";

/** Where pins are stored: `localStorage` in the page. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The newest key of a log that this browser has followed. */
export type Pin = {
  /** Null if an earlier version of this page, which did not distinguish logs, stored the key. */
  log: string | null;
  key: Key;
  first_seen: string;
};

/** The proved keys of a log, in order; at least one. */
export type Keys = readonly [Key, ...Key[]];

export type Trust =
  /** The browser sees a log for the first time. `kept` is false if it refuses storage. */
  | { is: "first"; pin: Pin; kept: boolean }
  /** The log is known, or was followed from the known key. `pin` has its newest key. */
  | { is: "same"; pin: Pin }
  /**
   * The address shows another log than before, or the address is new and its origin has shown
   * another log. `seen` is when this browser first saw the offered log at any address; null if
   * never.
   */
  | { is: "other_log"; pin: Pin; offered: Pin; seen: string | null }
  /** The log claims to be the same, but does not lead on from the stored key. */
  | { is: "broken"; pin: Pin; offered: Pin }
  /** The site names another key, and the log's proof of it is unavailable or invalid. */
  | { is: "unproved"; pin: Pin | null; why: string };

const NAME = "sealwire.trust";
/**
 * Storage key of earlier versions of the page: one verifier key, of the first log that the browser
 * saw at this origin.
 */
const NAME_BEFORE = "sealwire.vkey";

type Kept = { logs: Record<string, Omit<Pin, "log">>; addresses: Record<string, string> };

export class TrustBook {
  readonly #store: Store | null;
  readonly #address: string;
  /** Used if the browser stores nothing; lasts as long as the page. */
  #kept: Kept = { logs: {}, addresses: {} };

  /** `address` is the page's address: two addresses of one origin may show two logs. */
  constructor(store: Store | null, address: string) {
    this.#store = store;
    this.#address = address;
  }

  /** The key with which the page verifies at this address; null before the first log. */
  pin(): Pin | null {
    const { logs, addresses } = this.#load();
    const log = own(addresses, this.#address);
    const pin = log === undefined ? undefined : own(logs, log);
    return log !== undefined && pin ? { log, ...pin } : this.#before();
  }

  /**
   * Compares the log at this address, with these keys, to what is stored. Stores every change that
   * needs no person's decision.
   */
  meet(keys: Keys, now: Date): Trust {
    const log = sha256Hex(keys[0].vkey);
    const newest = keys.at(-1) ?? keys[0];
    const offered = { log, key: newest, first_seen: now.toISOString() };
    const { logs } = this.#load();
    const elsewhere = own(logs, log);
    // A new path must not bypass the check, because the owner of one path of an origin controls
    // all. A second log always needs a person's decision.
    const known = this.pin() ?? (elsewhere ? { log, ...elsewhere } : anyOf(logs));
    if (known === null) return { is: "first", pin: offered, kept: this.#keep(offered) };
    const leads_on = keys.some((key) => isKey(key, known));
    // A stored key without its log shows only whether the new log has that key.
    if (known.log === null ? !leads_on : known.log !== log) return { is: "other_log", pin: known, offered, seen: elsewhere?.first_seen ?? null };
    if (!leads_on) return { is: "broken", pin: known, offered };
    const pin = { log, key: newest, first_seen: known.first_seen };
    this.#keep(pin);
    return { is: "same", pin };
  }

  /** Trusts the offered key from now on. Call it only at a person's request. */
  accept(offered: Pin): Trust {
    return { is: "first", pin: offered, kept: this.#keep(offered) };
  }

  #keep(pin: Pin): boolean {
    if (pin.log === null) return false;
    const { logs, addresses } = this.#load();
    const { log, key, first_seen } = pin;
    this.#kept = { logs: { ...logs, [log]: { key, first_seen } }, addresses: { ...addresses, [this.#address]: log } };
    try {
      this.#store?.setItem(NAME, JSON.stringify(this.#kept));
      this.#store?.removeItem(NAME_BEFORE);
      return this.#store !== null;
    } catch {
      return false;
    }
  }

  /** Reads the storage every time, because another tab may have changed it. */
  #load(): Kept {
    try {
      return keptOf(JSON.parse(this.#store?.getItem(NAME) ?? "null")) ?? this.#kept;
    } catch {
      return this.#kept;
    }
  }

  #before(): Pin | null {
    try {
      const { vkey, first_seen } = JSON.parse(this.#store?.getItem(NAME_BEFORE) ?? "null") as { vkey?: unknown; first_seen?: unknown };
      // The leaf that introduced the key was not stored, so the key matches at any leaf.
      return typeof vkey === "string" && typeof first_seen === "string" ? { log: null, key: { leaf: 0, vkey }, first_seen } : null;
    } catch {
      return null;
    }
  }
}

function anyOf(logs: Kept["logs"]): Pin | null {
  const [first] = Object.entries(logs);
  return first === undefined ? null : { log: first[0], ...first[1] };
}

const isKey = ({ leaf, vkey }: Key, { log, key }: Pin): boolean => vkey === key.vkey && (log === null || leaf === key.leaf);

const own = <Value>(fields: Record<string, Value>, name: string): Value | undefined => (Object.hasOwn(fields, name) ? fields[name] : undefined);

function keptOf(value: unknown): Kept | null {
  if (!isObject(value) || !isObject(value.logs) || !isObject(value.addresses)) return null;
  const pins = Object.values(value.logs).every((pin) => isObject(pin) && typeof pin.first_seen === "string" && isObject(pin.key) && typeof pin.key.vkey === "string" && Number.isSafeInteger(pin.key.leaf));
  return pins && Object.values(value.addresses).every((log) => typeof log === "string") ? (value as Kept) : null;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
