// What the page says of a leaf, and how the same follows from an envelope.
//
// A row's component is given one value and draws nothing else. Verify makes that value again from the envelope that was proved, and compares the two
// whole. So a row cannot show a field that Verify passes over.

import type { Envelope, Reading, Sealed } from "../api.ts";
import { readingOf } from "../event.ts";

export type Claim = {
  leaf: number;
  /** The one value that the row was drawn from. */
  shown: unknown;
  /** The same, made from an envelope; null where that envelope gives no such row. */
  again: (sealed: Sealed) => unknown;
  /** What the page calls the sensor now, written as the `source` of its events. A sensor may have had another name then. */
  source?: string;
};

/** A row of the log is drawn from its envelope alone. */
export const claimOfEvent = ({ leaf, envelope }: Sealed): Claim => ({ leaf, shown: envelope, again: (sealed) => sealed.envelope });

export function claimOfReading(reading: Reading, source: string | undefined): Claim {
  return { leaf: reading.leaf, shown: reading, again: readingOf, ...(source !== undefined && { source }) };
}

export type Difference = { field: string; sealed: string; shown: string };

/** Every place where two values of JSON are not the same. What one has and the other has not is a difference too. */
export function differences(sealed: unknown, shown: unknown, field = ""): Difference[] {
  if (!isObject(sealed) || !isObject(shown) || Array.isArray(sealed) !== Array.isArray(shown)) {
    return Object.is(sealed, shown) ? [] : [{ field, sealed: written(sealed), shown: written(shown) }];
  }
  const names = new Set([...Object.keys(sealed), ...Object.keys(shown)]);
  return [...names].flatMap((name) => differences(own(sealed, name), own(shown, name), field === "" ? name : `${field}.${name}`));
}

/** The fields of an envelope, each by its whole name: a program may call a field of its event what it likes, but not put one beside the event. */
export function fieldsOf({ event, sealwire, ...rest }: Envelope): [name: string, text: string][] {
  return leavesOf({ event, ...(sealwire !== undefined && { sealwire }), ...rest });
}

function leavesOf(fields: Fields, within = ""): [name: string, text: string][] {
  return Object.entries(fields).flatMap(([name, value]): [string, string][] => (isObject(value) ? leavesOf(value, `${within}${name}.`) : [[within + name, written(value)]]));
}

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null;

/** A name such as `__proto__` is a field like any other where JSON has it. */
const own = (fields: Fields, name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);

function written(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}
