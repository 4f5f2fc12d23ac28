import { describe, expect, it } from 'vitest';
import { isEmojiOnly, parseBlocks, parseInline, plainText } from './markup';

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
  // A parser that backtracks would not come back before the runner's own deadline.
  it('comes back from hostile text', () => {
    parseInline('*a '.repeat(5_000));
    parseInline('**'.repeat(8_000));
    parseInline('_`:@h'.repeat(3_000));
  }, 20_000);
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
  it('knows a message of emoji only', () => {
    expect(isEmojiOnly(parseBlocks('🎉'))).toBe(true);
    expect(isEmojiOnly(parseBlocks('👩‍💻 👍🏽'))).toBe(true);
    expect(isEmojiOnly(parseBlocks('🎉🎉🎉🎉'))).toBe(false);
    expect(isEmojiOnly(parseBlocks('3'))).toBe(false);
  });
  it('makes one plain line', () => expect(plainText('> a\n**b** `c` @d')).toBe('a b c @d'));
});
