// Text that others wrote: names, values, units, messages, errors. It is shown so that one sees all that is in it, and so that it changes nothing around it.
//
// Every such text goes through here: on the page through `Said.svelte`, in attributes and titles through `plainly`. Which script it is in does not matter:
// text from right to left is isolated and otherwise left alone. Letters that only look alike are not told apart.

export type Piece = { text: string; /** What stands for a character that has no look of its own; `text` is that mark. */ mark: boolean };

/**
 * Controls, marks of direction, joiners, fillers, tags, private and unassigned characters, halves of pairs: they have no look of their own, or that of nothing.
 * Then spaces other than the usual one, and those that a browser leaves out: at either end and after another. Then accents without a letter to stand on, or
 * too many on one, which would be drawn over what stands above and below.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}|^ | $|(?<= ) |(?:^|(?<=\p{M}{4}))\p{M}/gu;

const MARKS: Readonly<Record<string, string>> = { " ": "␣", "\n": "⏎", "\t": "⇥" };

const markOf = (unseen: string): string => MARKS[unseen] ?? `U+${(unseen.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/** The text in pieces, with a mark for each character that would not be seen. `lines` keeps the ends of lines as they are. */
export function piecesOf(text: string, lines = false): Piece[] {
  const pieces: Piece[] = [];
  let seen_to = 0;
  for (const { 0: unseen, index } of text.matchAll(UNSEEN)) {
    if (lines && unseen === "\n") continue;
    if (index > seen_to) pieces.push({ text: text.slice(seen_to, index), mark: false });
    pieces.push({ text: markOf(unseen), mark: true });
    seen_to = index + unseen.length;
  }
  if (seen_to < text.length) pieces.push({ text: text.slice(seen_to), mark: false });
  return pieces;
}

/** Isolates a text from what stands around it, as `bdi` does where there can be no element. */
const [ISOLATE, END] = ["\u2068", "\u2069"];

/** For where only text can stand: titles, labels, options. */
export const plainly = (text: string): string => ISOLATE + marked(text) + END;

/** For lines that are put together of several texts, and shown by `Said`: none of them can end the line. */
export const marked = (text: string): string =>
  piecesOf(text)
    .map(({ text, mark }) => (mark ? `<${text}>` : text))
    .join("");

/** Words of plain ASCII, one space between each: what most texts are, and quick to tell. */
const PLAIN = /^[!-~]+(?: [!-~]+)*$/;

export const hasNothingUnseen = (text: string): boolean => PLAIN.test(text) || text.search(UNSEEN) < 0;

/** Whether there is nothing to see in it, or nothing but marks. */
export const isBlank = (text: string): boolean => piecesOf(text).every(({ mark }) => mark);
