/** Marks around what is selected in the composer. Owns: which keys, and how the marks come and go. Pure. */
export type Selection = { text: string; start: number; end: number };

/** With Ctrl, or Cmd on a Mac. */
export const MARKS: Readonly<Record<string, string>> = { b: '**', i: '*', e: '`' };

/** Puts marks around the selection, or takes them away if they are there; blanks at its edges stay outside. */
export function toggleMark({ text, start, end }: Selection, mark: string): Selection {
  const size = mark.length;
  const chosen = text.slice(start, end);
  const wide = text.slice(start - size, end + size);
  const around = [text.charAt(start - size - 1), text.charAt(end + size)];
  if (start >= size && isMarked(wide, mark) && !around.includes(mark.charAt(0))) {
    const bare = text.slice(0, start - size) + chosen + text.slice(end + size);
    return { text: bare, start: start - size, end: end - size };
  }
  if (isMarked(chosen, mark)) {
    const bare = text.slice(0, start) + chosen.slice(size, -size) + text.slice(end);
    return { text: bare, start, end: end - 2 * size };
  }
  const lead = chosen.length - chosen.trimStart().length;
  const [from, to] =
    chosen.trim() === '' ? [start, start] : [start + lead, start + chosen.trimEnd().length];
  return {
    text: text.slice(0, from) + mark + text.slice(from, to) + mark + text.slice(to),
    start: from + size,
    end: to + size,
  };
}

/** Exactly these marks: two stars are no single star. */
function isMarked(text: string, mark: string): boolean {
  const size = mark.length;
  const inner = text.slice(size, -size);
  return (
    text.length > 2 * size &&
    text.startsWith(mark) &&
    text.endsWith(mark) &&
    !inner.startsWith(mark[0] ?? '') &&
    !inner.endsWith(mark[0] ?? '')
  );
}
