// What the processor derives: the double of each value from 50 on. Change this file.

/** The smallest value that is doubled. */
const LARGE = 50;

/**
 * What follows from an event. The same event always has the same answer: the site may ask again.
 *
 * @param event A sealed event, as wit/processor.wit shows one.
 * @returns Its values, at most four. Each says from which leaf it follows, and is text.
 */
export function process(event) {
  const number = Number(event.value);
  if (!(number >= LARGE)) return [];
  return [{ from_leaf: event.leaf, value: String(number * 2), unit: event.unit }];
}
