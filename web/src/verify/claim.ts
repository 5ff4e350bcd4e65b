// What the page claims about a leaf, and how the same claim follows from an envelope.
//
// A row's component receives one value and draws nothing else. Verify makes that value again from
// the proved envelope and compares the two completely. So a row cannot show a field that Verify
// ignores.

import type { Envelope, Reading, Sealed } from "../api.ts";
import { asWritten, readingOf } from "../event.ts";

export type Claim = {
  leaf: number;
  /** The one value from which the row was drawn. */
  shown: unknown;
  /** Makes the same value from an envelope; null if the envelope makes no such row. */
  again: (sealed: Sealed) => unknown;
  /**
   * The present name of the sensor on the page, in the form of its events' `source`. The sensor may
   * have had another name when the event was sealed.
   */
  source?: string;
};

/** A row of the log is drawn from its envelope alone. */
export const claimOfEvent = ({ leaf, envelope }: Sealed): Claim => ({ leaf, shown: envelope, again: (sealed) => sealed.envelope });

/**
 * A row of readings, without corrected values: no leaf holds them. The row shows them apart from
 * what the sensor wrote.
 */
export function claimOfReading(reading: Reading, source: string | undefined): Claim {
  const again = (sealed: Sealed): Reading | null => {
    const found = readingOf(sealed);
    return found && asWritten(found);
  };
  return { leaf: reading.leaf, shown: asWritten(reading), again, ...(source !== undefined && { source }) };
}

export type Difference = { field: string; sealed: string; shown: string };

/**
 * Every place where two JSON values differ. A field that only one of them has is a difference too.
 */
export function differences(sealed: unknown, shown: unknown, field = ""): Difference[] {
  if (!isObject(sealed) || !isObject(shown) || Array.isArray(sealed) !== Array.isArray(shown)) {
    return Object.is(sealed, shown) ? [] : [{ field, sealed: written(sealed), shown: written(shown) }];
  }
  const names = new Set([...Object.keys(sealed), ...Object.keys(shown)]);
  return [...names].flatMap((name) => differences(own(sealed, name), own(shown, name), field === "" ? name : `${field}.${name}`));
}

/**
 * The fields of an envelope, each by its full path. A program may choose the names of fields within
 * its event, but cannot add fields beside the event.
 */
export function fieldsOf({ event, sealwire, ...rest }: Envelope): [name: string, text: string][] {
  return leavesOf({ event, ...(sealwire !== undefined && { sealwire }), ...rest });
}

function leavesOf(fields: Fields, within = ""): [name: string, text: string][] {
  return Object.entries(fields).flatMap(([name, value]): [string, string][] => (isObject(value) ? leavesOf(value, `${within}${name}.`) : [[within + name, written(value)]]));
}

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null;

/** A name such as `__proto__` is an ordinary field in JSON. */
const own = (fields: Fields, name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);

function written(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}
