/**
 * Reads the text of a message into a small tree. Owns: paragraphs, quotes, fenced code; what is within them is `inline`'s.
 * Never does: HTML, or anything that a message could use to become more than text. Bounds: O(n) for n characters.
 */
import { type Inline, parseInline } from './inline';

export type { Inline } from './inline';
export type Block =
  | { kind: 'paragraph'; children: Inline[] }
  | { kind: 'quote'; children: Inline[] }
  | { kind: 'code'; text: string; language: string };

const FENCE = /^```([\w+#.-]{0,20})[ \t]*$/;

export function parseBlocks(source: string): Block[] {
  const blocks: Block[] = [];
  const lines = source.split('\n');
  const closing = closingFences(lines);
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
    const end = fence ? (closing[at + 1] ?? -1) : -1;
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

/** For each line the next one, itself included, that ends a fence; -1 = none. Found once, not once for each fence. */
function closingFences(lines: readonly string[]): Int32Array {
  const next = new Int32Array(lines.length + 1).fill(-1);
  for (let at = lines.length - 1; at >= 0; at--)
    next[at] = lines[at]?.trim() === '```' ? at : (next[at + 1] ?? -1);
  return next;
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

const PREVIEW_MAX = 400;

/** The text as one line without marks, for previews and notifications. */
export function plainText(source: string, max = PREVIEW_MAX): string {
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
  return parseBlocks(source.slice(0, max))
    .map((block) => (block.kind === 'code' ? block.text : flat(block.children)))
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim();
}
