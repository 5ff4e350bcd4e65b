// Which log an address shows, and which key speaks for it.
//
// A log is known by its LogId, the SHA-256 of its first verifier key. The browser keeps of each log the newest key that it has followed, and of each
// address which log it showed. So it follows a log whose operator changes the key, from the key it knows and by statements that both keys signed, and it
// notices a log that does not lead on from that key, or another log in the same place.
//
// Nothing here checks a signature: keys come from `followKeys` of the verifier, which has proved them.

import { sha256Hex } from "./sha256.ts";
import type { Key } from "./verifier.ts";

/** Where it is kept. `localStorage` in the page. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The newest key of a log that this browser has followed. */
export type Pin = {
  /** Null where the key was kept by a version of this page that did not know of logs. */
  log: string | null;
  key: Key;
  first_seen: string;
};

/** A log's keys in order, proved; there is at least one. */
export type Keys = readonly [Key, ...Key[]];

export type Trust =
  /** Seen now for the first time; `kept` is false where the browser refuses to remember. */
  | { is: "first"; pin: Pin; kept: boolean }
  /** Known, or followed from the key that was known: `pin` has the newest. */
  | { is: "same"; pin: Pin }
  /** The address shows another log than before, or is new and of an origin that has shown another. `seen` is when this browser first saw that one, if it did, wherever it was. */
  | { is: "other_log"; pin: Pin; offered: Pin; seen: string | null }
  /** The same log, or so it says, but it does not lead on from the key that this browser knows. */
  | { is: "broken"; pin: Pin; offered: Pin }
  /** The site names another key, and what the log says of it could not be had, or does not hold. */
  | { is: "unproved"; pin: Pin | null; why: string };

const NAME = "sealwire.trust";
/** What earlier versions of the page kept: one key, of whichever log the browser saw first at this origin. */
const NAME_BEFORE = "sealwire.vkey";

type Kept = { logs: Record<string, Omit<Pin, "log">>; addresses: Record<string, string> };

export class TrustBook {
  readonly #store: Store | null;
  readonly #address: string;
  /** What there is where the browser keeps nothing: it lasts as long as the page. */
  #kept: Kept = { logs: {}, addresses: {} };

  /** `address` is where the page is: two of one origin may show two logs. */
  constructor(store: Store | null, address: string) {
    this.#store = store;
    this.#address = address;
  }

  /** The key that checks at this address are made with; null before the first log. */
  pin(): Pin | null {
    const { logs, addresses } = this.#load();
    const log = own(addresses, this.#address);
    const pin = log === undefined ? undefined : own(logs, log);
    return log !== undefined && pin ? { log, ...pin } : this.#before();
  }

  /** What to make of the log at this address, which has these keys. Keeps what needs no person's word. */
  meet(keys: Keys, now: Date): Trust {
    const log = sha256Hex(keys[0].vkey);
    const newest = keys.at(-1) ?? keys[0];
    const offered = { log, key: newest, first_seen: now.toISOString() };
    const { logs } = this.#load();
    const elsewhere = own(logs, log);
    // Another path is no way around: whoever answers for one path of an origin answers for all. A second log needs a person's word wherever it is.
    const known = this.pin() ?? (elsewhere ? { log, ...elsewhere } : anyOf(logs));
    if (known === null) return { is: "first", pin: offered, kept: this.#keep(offered) };
    const leads_on = keys.some((key) => isKey(key, known));
    // Of a key without its log, all one can say is that this is not the log that had it.
    if (known.log === null ? !leads_on : known.log !== log) return { is: "other_log", pin: known, offered, seen: elsewhere?.first_seen ?? null };
    if (!leads_on) return { is: "broken", pin: known, offered };
    const pin = { log, key: newest, first_seen: known.first_seen };
    this.#keep(pin);
    return { is: "same", pin };
  }

  /** Trusts what is offered from now on. Only ever at a person's word. */
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

  /** Read anew each time: another tab may have kept something since. */
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
      // It counts at any leaf: nobody noted where the key came in.
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
