/**
 * Reads the text of a message into a small tree. Owns: the grammar (code, bold, italic, quotes, links, mentions, shortcodes).
 * Never does: HTML, or anything that a message could use to become more than text.
 * Bounds: inline nesting MAX_DEPTH; every step consumes a character, so a text of n characters takes O(n · depth).
 */
import { emojiOf } from './emoji';

export type Inline =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'bold' | 'italic'; children: Inline[] }
  | { kind: 'link'; href: string; text: string }
  | { kind: 'mention'; name: string };

export type Block =
  | { kind: 'paragraph'; children: Inline[] }
  | { kind: 'quote'; children: Inline[] }
  | { kind: 'code'; text: string; language: string };

const MAX_DEPTH = 4;
const FENCE = /^```([\w+#.-]{0,20})[ \t]*$/;
const URL_START = /^https?:\/\/[^\s<>"'`]{3,}/i;
const MENTION = /^@([A-Za-z0-9][A-Za-z0-9_.-]{1,31})/;
const SHORTCODE = /^:([a-z0-9_+-]{1,32}):/;

export function parseBlocks(source: string): Block[] {
  const blocks: Block[] = [];
  const lines = source.split('\n');
  let paragraph: string[] = [];
  let quote: string[] = [];
  const flush = () => {
    if (paragraph.length > 0)
      blocks.push({ kind: 'paragraph', children: parseInline(paragraph.join('\n')) });
    if (quote.length > 0) blocks.push({ kind: 'quote', children: parseInline(quote.join('\n')) });
    paragraph = [];
    quote = [];
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const fence = FENCE.exec(line);
    const end = fence
      ? lines.findIndex((other, index) => index > at && other.trim() === '```')
      : -1;
    if (fence && end > at) {
      flush();
      blocks.push({
        kind: 'code',
        language: fence[1] ?? '',
        text: lines.slice(at + 1, end).join('\n'),
      });
      at = end;
    } else if (/^> ?/.test(line)) {
      if (paragraph.length > 0) flush();
      quote.push(line.replace(/^> ?/, ''));
    } else {
      if (quote.length > 0) flush();
      paragraph.push(line);
    }
  }
  flush();
  return blocks;
}

export function parseInline(source: string, depth = 0): Inline[] {
  const out: Inline[] = [];
  let plain = '';
  const push = (node: Inline) => {
    if (plain) out.push({ kind: 'text', text: plain });
    plain = '';
    out.push(node);
  };
  let at = 0;
  while (at < source.length) {
    const char = source.charAt(at);
    const before = at === 0 ? '' : source.charAt(at - 1);
    const found = special(source, at, char, before, depth);
    const node = found?.node ?? char;
    if (typeof node === 'string') plain += node;
    else push(node);
    at += found ? found.length : 1;
  }
  if (plain) out.push({ kind: 'text', text: plain });
  return out;
}

type Found = { node: Inline | string; length: number };

function special(
  source: string,
  at: number,
  char: string,
  before: string,
  depth: number,
): Found | null {
  switch (char) {
    case '`':
      return code(source, at);
    case '*':
    case '_':
      return emphasis(source, at, char, before, depth);
    case 'h':
    case 'H':
      return isWord(before) ? null : link(source, at);
    case '@': {
      const match = isWord(before) ? null : MENTION.exec(source.slice(at, at + 34));
      const name = match?.[1]?.replace(/[.-]+$/, '') ?? '';
      return name ? { node: { kind: 'mention', name }, length: name.length + 1 } : null;
    }
    case ':': {
      const match = SHORTCODE.exec(source.slice(at, at + 35));
      const emoji = emojiOf(match?.[1] ?? '');
      return match && emoji ? { node: emoji, length: match[0].length } : null;
    }
    default:
      return null;
  }
}

function code(source: string, at: number): Found | null {
  const end = source.indexOf('`', at + 1);
  const text = source.slice(at + 1, end);
  return end > at + 1 && !text.includes('\n')
    ? { node: { kind: 'code', text }, length: end + 1 - at }
    : null;
}

function emphasis(
  source: string,
  at: number,
  char: string,
  before: string,
  depth: number,
): Found | null {
  if (depth >= MAX_DEPTH || isWord(before)) return null;
  const double = source.charAt(at + 1) === char;
  if (double && char === '_') return null;
  const mark = double ? char + char : char;
  const start = at + mark.length;
  if (!source.charAt(start).trim()) return null;
  const end = closing(source, mark, start);
  if (end < 0) return null;
  const children = parseInline(source.slice(start, end), depth + 1);
  return { node: { kind: double ? 'bold' : 'italic', children }, length: end + mark.length - at };
}

/** Where the emphasis ends: after something that is no blank, before something that is no letter, within the paragraph. */
function closing(source: string, mark: string, start: number): number {
  for (let end = source.indexOf(mark, start + 1); end >= 0; end = source.indexOf(mark, end + 1)) {
    if (source.slice(start, end).includes('\n\n')) return -1;
    const single = mark.length === 2 || source.charAt(end + 1) !== mark;
    if (source.charAt(end - 1).trim() && !isWord(source.charAt(end + mark.length)) && single)
      return end;
  }
  return -1;
}

function link(source: string, at: number): Found | null {
  const match = URL_START.exec(source.slice(at, at + 2048));
  if (!match) return null;
  let text = match[0].replace(/[.,;:!?*_]+$/, '');
  while (text.endsWith(')') && text.split('(').length < text.split(')').length)
    text = text.slice(0, -1);
  try {
    const url = new URL(text);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
    return { node: { kind: 'link', href: url.href, text }, length: text.length };
  } catch {
    return null;
  }
}

function isWord(char: string): boolean {
  return char !== '' && /[\p{L}\p{N}_]/u.test(char);
}

const EMOJI_ONLY =
  /^(?:\p{Extended_Pictographic}(?:\uFE0F|\p{Emoji_Modifier})?(?:\u200D\p{Extended_Pictographic}\uFE0F?)*|\p{Regional_Indicator}{2}|\s){1,16}$/u;
const EMOJI_ONLY_MAX = 3;

/** A message of one to three emoji and nothing else is shown large. */
export function isEmojiOnly(blocks: Block[]): boolean {
  const only = blocks.length === 1 && blocks[0]?.kind === 'paragraph' ? blocks[0].children : [];
  const text = only.length === 1 && only[0]?.kind === 'text' ? only[0].text.trim() : '';
  if (!text || !EMOJI_ONLY.test(text)) return false;
  return [...new Intl.Segmenter().segment(text.replace(/\s/g, ''))].length <= EMOJI_ONLY_MAX;
}

/** The text as one line without marks, for previews and notifications. */
export function plainText(source: string): string {
  const flat = (nodes: Inline[]): string =>
    nodes
      .map((node) =>
        node.kind === 'mention'
          ? `@${node.name}`
          : 'children' in node
            ? flat(node.children)
            : node.text,
      )
      .join('');
  return parseBlocks(source.slice(0, 400))
    .map((block) => (block.kind === 'code' ? block.text : flat(block.children)))
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim();
}
