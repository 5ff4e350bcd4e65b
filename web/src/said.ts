// Text that others wrote: names, values, units, messages, errors. It is shown so that a person sees
// every character in it, and so that it does not affect the text around it.
//
// Every such text goes through this module: on the page through `Said.svelte`, in attributes and
// titles through `plainly`. The script does not matter: right-to-left text is isolated and
// otherwise unchanged. Letters that look alike are not distinguished.

export type Piece = { text: string; /** What stands for a character that has no look of its own; `text` is that mark. */ mark: boolean };

/**
 * Characters that cannot be seen, or that look like nothing: controls, direction marks, joiners,
 * fillers, tags, private and unassigned characters, halves of surrogate pairs. Then spaces other
 * than U+0020, and those that a browser omits: at either end and after another space. Then accents
 * without a letter, or too many on one letter, which would cover the lines above and below.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}|^ | $|(?<= ) |(?:^|(?<=\p{M}{4}))\p{M}/gu;

const MARKS: Readonly<Record<string, string>> = { " ": "␣", "\n": "⏎", "\t": "⇥" };

const markOf = (unseen: string): string => MARKS[unseen] ?? `U+${(unseen.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/**
 * Splits a text into pieces, with a mark for each invisible character. `lines` keeps line ends as
 * they are.
 */
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

/** Isolates a text from its surroundings where no `bdi` element is possible. */
const [ISOLATE, END] = ["\u2068", "\u2069"];

/** For places that hold only text: titles, labels, options. */
export const plainly = (text: string): string => ISOLATE + marked(text) + END;

/** For lines made of several texts and shown by `Said`: no text can end the line. */
export const marked = (text: string): string =>
  piecesOf(text)
    .map(({ text, mark }) => (mark ? `<${text}>` : text))
    .join("");

/** Words of printable ASCII separated by single spaces: most texts, and quick to check. */
const PLAIN = /^[!-~]+(?: [!-~]+)*$/;

export const hasNothingUnseen = (text: string): boolean => PLAIN.test(text) || text.search(UNSEEN) < 0;

/** Whether the text is empty or consists only of marks. */
export const isBlank = (text: string): boolean => piecesOf(text).every(({ mark }) => mark);
