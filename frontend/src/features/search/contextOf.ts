const LEAD = 24;

/** The text around the first word found, so that it is in sight on one line: [before, match, after]. */
export function contextOf(text: string, q: string): [string, string, string] {
  const lower = text.toLowerCase();
  for (const word of q.toLowerCase().split(/\s+/).filter(Boolean)) {
    const at = lower.indexOf(word);
    if (at < 0) continue;
    const from = beginning(text, at);
    return [
      (from > 0 ? '…' : '') + text.slice(from, at),
      text.slice(at, at + word.length),
      text.slice(at + word.length),
    ];
  }
  return [text, '', ''];
}

/** At most LEAD before the match, and at the beginning of a word, where there are spaces. */
function beginning(text: string, at: number): number {
  if (at <= LEAD) return 0;
  const space = text.slice(at - LEAD - 1, at).search(/\s\S/);
  return space < 0 ? at - LEAD : at - LEAD + space;
}
