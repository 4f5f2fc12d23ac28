import { expect, it } from 'vitest';
import type { MessageEntry, TimelineView } from '../../realtime';
import { buildRows, startsAbove } from './rows';
import { ownSeqs } from './useCounting';

const T = new Date(2026, 0, 5, 12).getTime();
function message(seq: number, from: string, ts = T + seq * 1000): MessageEntry {
  return {
    kind: 'message',
    key: `k${seq}`,
    seq,
    ordinal: seq,
    from,
    producer: 'p',
    no: seq,
    ts,
    text: 'x',
    reply_to: null,
    attachments: [],
    edited_ts: null,
    deleted: false,
    reactions: [],
    status: null,
  };
}
function view(entries: MessageEntry[], more: Partial<TimelineView> = {}): TimelineView {
  return {
    entries,
    phase: 'ready',
    moreBefore: false,
    moreAfter: false,
    loadingBefore: false,
    loadingAfter: false,
    catchingUp: false,
    ...more,
  };
}
const kinds = (rows: ReturnType<typeof buildRows>) => rows.map((row) => row.kind);

it('groups messages of one sender and splits by sender, time and day', () => {
  const rows = buildRows(
    view([
      message(1, 'a'),
      message(2, 'a'),
      message(3, 'b'),
      message(4, 'b', T + 3_600_000),
      message(5, 'b', T + 30 * 3_600_000),
    ]),
    null,
    'me',
  );
  const firsts = rows.flatMap((row) => (row.kind === 'message' ? [[row.first, row.last]] : []));
  expect(firsts).toEqual([
    [true, false],
    [false, true],
    [true, true],
    [true, true],
    [true, true],
  ]);
  expect(kinds(rows).filter((kind) => kind === 'day')).toHaveLength(2);
});

it('draws one unread line before the first foreign message above the cursor', () => {
  const rows = buildRows(
    view([message(1, 'a'), message(2, 'me'), message(3, 'a'), message(4, 'a')]),
    1,
    'me',
  );
  expect(kinds(rows)).toEqual([
    'start',
    'day',
    'message',
    'message',
    'unread',
    'message',
    'message',
  ]);
});

it('draws no unread line while it belongs above what is loaded', () => {
  const loaded = view([message(9, 'a'), message(10, 'a')], { moreBefore: true });
  expect(startsAbove(loaded, 5)).toBe(true);
  expect(kinds(buildRows(loaded, 5, 'me'))).not.toContain('unread');
  expect(startsAbove(loaded, 8)).toBe(false);
  expect(kinds(buildRows(loaded, 8, 'me'))).toContain('unread');
  expect(startsAbove(view([message(9, 'a')]), 5)).toBe(false);
  expect(startsAbove(view([], { moreBefore: true }), 5)).toBe(false);
});

it('says where more is to come', () => {
  expect(kinds(buildRows(view([], { moreBefore: true, moreAfter: true }), null, 'me'))).toEqual([
    'loading',
    'loading',
  ]);
});

it('finds own messages that have readers', () => {
  const entries = [message(1, 'me'), message(2, 'bob'), message(3, 'me'), message(4, 'me')];
  const deleted = entries.map((entry) => ({ ...entry, deleted: entry.seq === 3 }));
  expect(ownSeqs(buildRows(view(deleted), null, 'me'), 'me')).toEqual([1, 4]);
});
