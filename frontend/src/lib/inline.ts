/**
 * Reads one paragraph of a message. Owns: code, bold, italic, links, mentions, shortcodes.
 * Never does: HTML, or anything that a message could use to become more than text. Start reading at: `parseInline`.
 *
 * One pass, no backtracking: a mark that might open is kept on a stack until one that closes takes it off, and what never
 * closes was text all along. Every character is looked at a bounded number of times, so n characters take O(n).
 * Bounds: nesting MAX_DEPTH, a link LINK_MAX.
 */
import { emojiOf } from './emoji';

export type Inline =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'bold' | 'italic'; children: Inline[] }
  | { kind: 'link'; href: string; text: string }
  | { kind: 'mention'; name: string };

type Mark = '*' | '**' | '_';
/** A mark that may open: where in the output it stands, and how deep the nodes after it nest. */
type Opener = { mark: Mark; at: number; depth: number };

const MAX_DEPTH = 4;
const LINK_MAX = 2_048;
/** Longer runs of `*` are drawn lines, not emphasis. */
const RUN_MAX = 3;
/** What `step` has nothing to say about. */
const PLAIN = /(?:[^`*_hH@:\n]|(?<=\w)[hH])+/y;
const URL_START = /^https?:\/\/[^\s<>"'`]{3,}/i;
const MENTION = /^@([A-Za-z0-9][A-Za-z0-9_.-]{1,31})/;
const MENTION_MAX = 33;
const SHORTCODE = /^:([a-z0-9_+-]{1,32}):/;
const SHORTCODE_MAX = 34;

export function parseInline(source: string): Inline[] {
  const reader = new Reader();
  let at = 0;
  while (at < source.length) {
    PLAIN.lastIndex = at;
    const plain = PLAIN.exec(source)?.[0];
    at += plain === undefined ? step(source, at, reader) : reader.text(plain);
  }
  return reader.end();
}

/** Reads what stands at `at`. Returns how many characters it took, at least one. */
function step(source: string, at: number, reader: Reader): number {
  const char = source.charAt(at);
  switch (char) {
    case '`':
      return code(source, at, reader);
    case '*':
    case '_':
      return emphasis(source, at, char, reader);
    case 'h':
    case 'H':
      return isWord(source.charAt(at - 1)) ? reader.text(char) : link(source, at, reader);
    case '@':
      return mention(source, at, reader);
    case ':':
      return shortcode(source, at, reader);
    case '\n':
      // A paragraph ends here, and with it whatever has not closed.
      if (source.charAt(at + 1) === '\n') reader.forget();
      return reader.text(char);
    default:
      return reader.text(char);
  }
}

function code(source: string, at: number, reader: Reader): number {
  const end = source.indexOf('`', at + 1);
  const text = end < 0 ? '' : source.slice(at + 1, end);
  if (text === '' || text.includes('\n')) return reader.text('`');
  reader.node({ kind: 'code', text });
  return text.length + 2;
}

function emphasis(source: string, at: number, char: '*' | '_', reader: Reader): number {
  let length = 1;
  while (source.charAt(at + length) === char) length += 1;
  const run = char.repeat(length);
  if (length > (char === '*' ? RUN_MAX : 1)) return reader.text(run);
  const before = source.charAt(at - 1);
  const after = source.charAt(at + length);
  if (before.trim() !== '' && !isWord(after) && reader.close(run)) return length;
  if (after.trim() !== '' && !isWord(before)) {
    if (length === RUN_MAX) {
      reader.open('**');
      reader.open('*');
    } else reader.open(run as Mark);
    return length;
  }
  return reader.text(run);
}

function link(source: string, at: number, reader: Reader): number {
  const found = URL_START.exec(source.slice(at, at + LINK_MAX))?.[0];
  if (found === undefined) return reader.text(source.charAt(at));
  const text = withoutTail(found);
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === 'http:' || url?.protocol === 'https:')
    reader.node({ kind: 'link', href: url.href, text });
  else reader.text(text);
  return text.length;
}

/** Punctuation after a link is the sentence's, and so is a parenthesis that was opened before the link. */
function withoutTail(found: string): string {
  let end = found.length;
  while (/[.,;:!?*_]/.test(found.charAt(end - 1))) end -= 1;
  let open = 0;
  for (let index = 0; index < end; index++) {
    if (found[index] === '(') open += 1;
    else if (found[index] === ')') open -= 1;
  }
  for (; open < 0 && found[end - 1] === ')'; open++) end -= 1;
  return found.slice(0, end);
}

function mention(source: string, at: number, reader: Reader): number {
  const match = isWord(source.charAt(at - 1))
    ? null
    : MENTION.exec(source.slice(at, at + MENTION_MAX));
  const name = match?.[1]?.replace(/[.-]+$/, '') ?? '';
  if (name === '') return reader.text('@');
  reader.node({ kind: 'mention', name });
  return name.length + 1;
}

function shortcode(source: string, at: number, reader: Reader): number {
  const match = SHORTCODE.exec(source.slice(at, at + SHORTCODE_MAX));
  const emoji = emojiOf(match?.[1] ?? '');
  if (!match || emoji === undefined) return reader.text(':');
  reader.text(emoji);
  return match[0].length;
}

/** The output so far: nodes in order, and the marks among them that may still open something. */
class Reader {
  readonly #nodes: Inline[] = [];
  readonly #openers: Opener[] = [];
  readonly #counts: Record<Mark, number> = { '*': 0, '**': 0, _: 0 };

  text(text: string): number {
    const last = this.#nodes.at(-1);
    // The text of an opener stays apart: it may turn out to be the opener.
    if (last?.kind === 'text' && this.#openers.at(-1)?.at !== this.#nodes.length - 1)
      last.text += text;
    else this.#nodes.push({ kind: 'text', text });
    return text.length;
  }

  node(node: Inline): void {
    this.#nodes.push(node);
  }

  open(mark: Mark): void {
    this.#openers.push({ mark, at: this.#nodes.length, depth: 0 });
    this.#counts[mark] += 1;
    this.#nodes.push({ kind: 'text', text: mark });
  }

  /** Closes what a run of marks can close. Returns false, having changed nothing, if there is nothing for it. */
  close(run: string): boolean {
    if (run.length < RUN_MAX) return this.#closeOne(run as Mark);
    const inner = this.#openers.findLast((opener) => opener.mark !== '_')?.mark;
    if (!inner || this.#counts['*'] === 0 || this.#counts['**'] === 0) return false;
    return this.#closeOne(inner) && this.#closeOne(inner === '*' ? '**' : '*');
  }

  #closeOne(mark: Mark): boolean {
    if (this.#counts[mark] === 0) return false;
    let depth = 0;
    for (let opener = this.#pop(); opener; opener = this.#pop()) {
      depth = Math.max(depth, opener.depth);
      if (opener.mark !== mark) continue;
      // Too deep: both marks stay text. The opener is gone all the same, or it would be tried again and again.
      const fits = depth < MAX_DEPTH;
      if (fits) {
        const children = merged(this.#nodes.splice(opener.at).slice(1));
        this.#nodes.push({ kind: mark === '**' ? 'bold' : 'italic', children });
        depth += 1;
      } else this.text(mark);
      const outer = this.#openers.at(-1);
      if (outer) outer.depth = Math.max(outer.depth, depth);
      return true;
    }
    return false;
  }

  #pop(): Opener | undefined {
    const opener = this.#openers.pop();
    if (opener) this.#counts[opener.mark] -= 1;
    return opener;
  }

  /** What is open now never closes. */
  forget(): void {
    while (this.#pop());
  }

  end(): Inline[] {
    return merged(this.#nodes);
  }
}

function merged(nodes: readonly Inline[]): Inline[] {
  const out: Inline[] = [];
  for (const node of nodes) {
    const last = out.at(-1);
    if (node.kind === 'text' && last?.kind === 'text')
      out[out.length - 1] = { kind: 'text', text: last.text + node.text };
    else out.push(node);
  }
  return out;
}

function isWord(char: string): boolean {
  return char !== '' && /[\p{L}\p{N}_]/u.test(char);
}
