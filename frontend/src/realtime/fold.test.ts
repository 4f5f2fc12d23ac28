import { expect, it } from 'vitest';
import type { MessageItem } from '../api/types';
import { BOB, DIRECT } from '../test/fakes';
import { Fold } from './fold';
import type { DurableEvent } from './wire';

const item = (text: string): MessageItem => ({
  kind: 'message',
  seq: 5,
  ordinal: 1,
  from: BOB,
  producer: 'd'.repeat(16),
  no: 1,
  ts: 1,
  text,
  reply_to: null,
  attachments: [],
  edited_ts: null,
  deleted: false,
  reactions: [],
});
const edit = (seq: number, text: string): DurableEvent => ({
  type: 'edit',
  conversation: DIRECT,
  epoch: 1,
  seq,
  ordinal: 1,
  from: BOB,
  producer: 'd'.repeat(16),
  no: seq,
  ts: seq,
  body: { target: 5, text },
});
const page = (as_of: number, text: string) => ({
  as_of,
  epoch: 1,
  items: [item(text)],
  more_before: false,
  more_after: false,
});
const textOf = (fold: Fold) => (fold.get(5) as MessageItem | undefined)?.text;

it('[R25] an item of a page that is ahead of the position never goes back to an earlier edit', () => {
  const fold = new Fold(30);
  fold.page(page(60, 'as of 60'));
  fold.apply(edit(40, 'as of 40'));
  expect(textOf(fold)).toBe('as of 60');
  fold.apply(edit(61, 'as of 61'));
  expect(textOf(fold)).toBe('as of 61');
});

it('[R25] a page that is behind gets the changes it lacks, or is refused when they are forgotten', () => {
  const fold = new Fold(30);
  fold.apply(edit(31, 'as of 31'));
  expect(fold.page(page(30, 'as of 30'))).toBe(true);
  expect(textOf(fold)).toBe('as of 31');
  expect(fold.page(page(29, 'too old'))).toBe(false);
  for (let seq = 32; seq < 600; seq += 1) fold.apply(edit(seq, `as of ${seq}`));
  expect(fold.page(page(31, 'too old'))).toBe(false);
});
