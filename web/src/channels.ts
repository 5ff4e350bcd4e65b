// A reading of several channels, taken apart as the site does: digit for digit, with the scale that
// was sealed with it. Nothing here goes through a floating-point number, except what a calibration
// corrects.

import type { ChannelReading, Reading } from "./api.ts";

/** Keys, texts, arrays of numbers, and everything else that stands between the marks of an object. */
const TOKENS = /"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^\s{}:,]+/g;

type Declared = { name: string; scale?: number; unit?: string };

/**
 * What each declared channel measured. `value` and `declared` are JSON texts as they were sealed,
 * and `calibration` that of the calibrations. Undefined if there is none, or a text is not as the
 * site seals it.
 */
export function channelsOf(value: string, declared: string, calibration: string | undefined): Record<string, ChannelReading> | undefined {
  try {
    const channels = new Map((JSON.parse(declared) as Declared[]).map((channel) => [channel.name, channel]));
    const lines = calibration === undefined ? {} : (JSON.parse(calibration) as Record<string, string>);
    const tokens = value.match(TOKENS) ?? [];
    const measured: [string, ChannelReading][] = [];
    for (let at = 0; at + 1 < tokens.length; at += 2) {
      const channel = channels.get(JSON.parse(tokens[at]!) as string);
      // A channel that no heartbeat declares has a name and nothing else.
      if (channel === undefined || Object.keys(channel).length < 2 || tokens[at + 1] === "null") continue;
      const text = textOf(tokens[at + 1]!, channel.scale ?? 0);
      const is_number = /^[-\d]/.test(tokens[at + 1]!);
      const line = Object.hasOwn(lines, channel.name) ? lines[channel.name] : undefined;
      const calibrated = is_number ? corrected(text, line) : undefined;
      measured.push([channel.name, { value: text, ...(calibrated !== undefined && { calibrated }), ...(channel.unit !== undefined && { unit: channel.unit }) }]);
    }
    return measured.length === 0 ? undefined : Object.fromEntries(measured);
  } catch {
    return undefined;
  }
}

function textOf(token: string, scale: number): string {
  if (token.startsWith('"')) return JSON.parse(token) as string;
  if (token.startsWith("[")) return `[${(token.match(/[^\s,[\]]+/g) ?? []).map((number) => scaled(number, scale)).join(",")}]`;
  return /^[-\d]/.test(token) ? scaled(token, scale) : token;
}

/** A JSON number times ten to the power of `scale`: only the point and the exponent move. */
export function scaled(number: string, scale: number): string {
  if (scale === 0) return number;
  const [mantissa = "", exponent] = number.split(/e/i);
  if (exponent !== undefined) {
    const moved = BigInt(exponent.replace("+", "")) + BigInt(scale);
    // Beyond 64 bits it is infinite or zero, whatever the scale.
    return BigInt.asIntN(64, moved) === moved ? `${mantissa}e${moved}` : number;
  }
  if (number.includes(".")) return `${number}e${scale}`;
  const [sign, digits] = number.startsWith("-") ? ["-", number.slice(1)] : ["", number];
  if (scale > 0) return digits === "0" ? number : number + "0".repeat(scale);
  const padded = digits.padStart(1 - scale, "0");
  return `${sign}${padded.slice(0, scale)}.${padded.slice(scale)}`;
}

/**
 * The corrected number, computed as the site does: first the product, then the sum, and never
 * infinite. `line` is gain and offset with a space between them.
 */
export function corrected(value: string, line: string | undefined): number | undefined {
  const number = finite(value);
  const [gain, offset] = (line ?? "").split(" ").map(Number);
  if (number === null || gain === undefined || offset === undefined) return undefined;
  const product = gain * number;
  return Math.min(Math.max(product + offset, -Number.MAX_VALUE), Number.MAX_VALUE);
}

/** A text as a number; null if it is none, or too large for one. */
export function finite(text: string): number | null {
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) ? number : null;
}

/** Digits of a corrected number beyond those that the sensor wrote. */
const DIGITS_MORE = 2;
/** Digits that every double has. */
const DIGITS_MAX = 15;

/** The value to show: the corrected one if there is one, with little more digits than the sensor wrote. */
export function shownValue({ value, calibrated }: Pick<Reading, "value" | "calibrated">): string {
  if (calibrated === undefined) return value;
  const written = value.split(/e/i)[0]!.replace(/\D/g, "").replace(/^0+/, "").length;
  return String(Number(calibrated.toPrecision(Math.min(written + DIGITS_MORE, DIGITS_MAX))));
}

/** The channels of a reading, those in `order` first. */
export function inOrder(channels: Readonly<Record<string, ChannelReading>>, order: readonly string[]): [name: string, measured: ChannelReading][] {
  const place = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.entries(channels).sort(([one], [other]) => place(one) - place(other));
}
