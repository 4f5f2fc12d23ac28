import { describe, expect, it } from 'vitest';
import { type Inline, parseInline } from './inline';
import { isEmojiOnly, parseBlocks, plainText } from './markup';

const text = (value: string) => ({ kind: 'text' as const, text: value });

function check(source: string, expected: ReturnType<typeof parseInline>) {
  expect(parseInline(source)).toEqual(expected);
}

describe('inline', () => {
  it('leaves plain text alone', () => check('a < b && c > d', [text('a < b && c > d')]));
  it('reads code before anything else', () => check('`**x**`', [{ kind: 'code', text: '**x**' }]));
  it('reads bold and italic, nested', () =>
    check('**a *b* c**', [
      {
        kind: 'bold',
        children: [text('a '), { kind: 'italic', children: [text('b')] }, text(' c')],
      },
    ]));
  it('does not take snake_case or 2*3*4 for emphasis', () => {
    check('snake_case_name', [text('snake_case_name')]);
    check('2*3*4', [text('2*3*4')]);
  });
  it('keeps an unclosed mark as text', () => check('*open', [text('*open')]));
  it('ends a link before punctuation and keeps its parentheses', () => {
    check('see https://a.example/x_(y).', [
      text('see '),
      { kind: 'link', href: 'https://a.example/x_(y)', text: 'https://a.example/x_(y)' },
      text('.'),
    ]);
    check('(https://a.example/x)', [
      text('('),
      { kind: 'link', href: 'https://a.example/x', text: 'https://a.example/x' },
      text(')'),
    ]);
  });
  it('never makes a link of another scheme', () => {
    check('javascript:alert(1)', [text('javascript:alert(1)')]);
    check('data:text/html,x', [text('data:text/html,x')]);
  });
  it('finds mentions, but not in addresses', () => {
    check('hi @ada.', [text('hi '), { kind: 'mention', name: 'ada' }, text('.')]);
    check('me@example.org', [text('me@example.org')]);
  });
  it('turns shortcodes it knows into emoji', () =>
    check('ok :thumbsup: :nope:', [text('ok 👍 :nope:')]));
  it('closes the mark that opened last, and a run of three closes both', () => {
    check('*a *b* c*', [
      {
        kind: 'italic',
        children: [text('a '), { kind: 'italic', children: [text('b')] }, text(' c')],
      },
    ]);
    check('***a***', [{ kind: 'bold', children: [{ kind: 'italic', children: [text('a')] }] }]);
    check('**a *b**', [{ kind: 'bold', children: [text('a *b')] }]);
    check('*a**', [text('*a**')]);
  });
  it('does not close over the end of a paragraph', () => check('*a\n\nb*', [text('*a\n\nb*')]));
  it('keeps long runs of marks as text', () =>
    check('**** a ____ b ****', [text('**** a ____ b ****')]));
  it('nests four deep and no deeper', () => {
    const deepest = (nodes: Inline[]): number =>
      Math.max(0, ...nodes.map((node) => ('children' in node ? 1 + deepest(node.children) : 0)));
    expect(deepest(parseInline('*a '.repeat(50) + ' a*'.repeat(50)))).toBeLessThanOrEqual(4);
  });
  it('keeps an address that is none as text', () => check('http://%%% x', [text('http://%%% x')]));
});

describe('blocks', () => {
  it('reads fenced code and quotes', () =>
    expect(parseBlocks('> hi\n> you\nx\n```rust\nlet a;\n```\ny')).toEqual([
      { kind: 'quote', children: [text('hi\nyou')] },
      { kind: 'paragraph', children: [text('x')] },
      { kind: 'code', language: 'rust', text: 'let a;' },
      { kind: 'paragraph', children: [text('y')] },
    ]));
  it('keeps an unclosed fence as text', () =>
    expect(parseBlocks('```\nx')).toEqual([{ kind: 'paragraph', children: [text('```\nx')] }]));
  it('ends a fence at the next line that does, whatever else looks like a fence', () =>
    expect(parseBlocks('```a\n```b\n```\n```c')).toEqual([
      { kind: 'code', language: 'a', text: '```b' },
      { kind: 'paragraph', children: [text('```c')] },
    ]));
  it('knows a message of emoji only', () => {
    expect(isEmojiOnly(parseBlocks('🎉'))).toBe(true);
    expect(isEmojiOnly(parseBlocks('👩‍💻 👍🏽'))).toBe(true);
    expect(isEmojiOnly(parseBlocks('🎉🎉🎉🎉'))).toBe(false);
    expect(isEmojiOnly(parseBlocks('3'))).toBe(false);
  });
  it('makes one plain line', () => expect(plainText('> a\n**b** `c` @d')).toBe('a b c @d'));
});
