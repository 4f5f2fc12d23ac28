/**
 * Hostile text takes time in proportion to its length. Sixteen times the text may take at most 64 times as long:
 * something quadratic would take 256 times, so a busy machine cannot make the one look like the other.
 */
import { expect, it } from 'vitest';
import { parseBlocks } from './markup';

const SHORT = 4 * 1024;
const FACTOR = 16;
const GROWTH_MAX = 64;
/** Below this the clock says little; it counts as this much. */
const FLOOR_MS = 0.5;

const hostile = [
  '*a ',
  '**',
  '_`:@h',
  '*_~`',
  '** _a* `',
  '_a *b ',
  '*a_ _b* ',
  '`',
  '`\n',
  '```x\n',
  '> ```\n',
  '[](https://a.b)',
  'http://%',
  'https://a',
  ':a',
  '@a',
  '*a\n\n',
  '***a ',
  '👩‍',
];

function fastest(text: string): number {
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    parseBlocks(text);
    return performance.now() - start;
  });
  return Math.max(FLOOR_MS, Math.min(...times));
}

it.each(hostile)(
  '%j does not get slower by more than its length',
  (piece) => {
    const text = (size: number) => piece.repeat(Math.ceil(size / piece.length));
    const short = fastest(text(SHORT));
    expect(fastest(text(SHORT * FACTOR)) / short).toBeLessThan(GROWTH_MAX);
  },
  20_000,
);

it.each([
  ['parentheses after a link', `https://a${')'.repeat(2000)} `],
  ['punctuation after a link', `https://a${'.'.repeat(2000)} `],
  ['opened and closed', `${'*a '.repeat(300)}${'b* '.repeat(300)}`],
])(
  '%s',
  (_, piece) => {
    const text = (size: number) => piece.repeat(Math.ceil(size / piece.length));
    const short = fastest(text(SHORT));
    expect(fastest(text(SHORT * FACTOR)) / short).toBeLessThan(GROWTH_MAX);
  },
  20_000,
);
