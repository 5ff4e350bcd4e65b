// Marks in a sensor's plot: new hardware in its place, and calibrations, each with its text.

import { ownFields, searchLog, type Sealed, type SensorAnswer, type SensorOrder } from "./api.ts";
import { orderName } from "./fleet.ts";

/** `name` is for the plot; `text` was written by others and goes through `Said`. */
export type PlotMark = { at_s: number; name: "Replaced" | "Calibrated"; text: string };

/** Most replacements of a sensor that its plot shows: the newest. */
const REPLACEMENTS_MAX = 100;

/** The events that say that a sensor was replaced. An order that was replaced itself is not in force, but its event is in the log. */
export const fetchReplacements = async (log: string | null, sensor: string): Promise<Sealed[]> =>
  (await searchLog(log, { action: "SENSOR_REPLACED", query: `sensor:${sensor}`, limit: REPLACEMENTS_MAX })).events;

/** The marks of a sensor's plot, or of one of its channels, oldest first. */
export function marksOf(replacements: readonly Sealed[], { orders }: SensorAnswer, channel: string | null): PlotMark[] {
  const calibrations = orders.filter((given) => given.order === "calibrate" && (given.channel ?? null) === channel);
  const marks = [
    ...replacements.flatMap(replacementOf),
    ...calibrations.map((given): PlotMark => ({ at_s: secondsOf(given.from), name: "Calibrated", text: textOf(given, given.by, given.reason) })),
  ];
  return marks.filter(({ at_s }) => Number.isFinite(at_s)).sort((one, other) => one.at_s - other.at_s);
}

function replacementOf({ envelope }: Sealed): PlotMark[] {
  const { order, why } = ownFields(envelope) ?? {};
  try {
    const given = JSON.parse(order ?? "") as SensorOrder;
    return [{ at_s: secondsOf(envelope.event.timestamp), name: "Replaced", text: textOf(given, envelope.event.actor ?? "", why ?? "") }];
  } catch {
    // A program may log this action, and then it is no order.
    return [];
  }
}

const secondsOf = (time: string | undefined): number => Date.parse(time ?? "") / 1000;

const textOf = (given: SensorOrder, by: string, reason: string): string => `${orderName(given)}: ${reason} (${by})`;
