/** What a timeline shows between and around its entries. Owns: days, the unread line, grouping by sender. Pure. */
import { sameDay } from '../../lib/time';
import type {
  MessageEntry,
  PendingEntry,
  SystemEntry,
  TimelineEntry,
  TimelineView,
} from '../../realtime';

export type MessageLike = MessageEntry | PendingEntry;
export type Row =
  | { kind: 'start'; key: string }
  | { kind: 'loading'; key: string }
  | { kind: 'day'; key: string; ts: number }
  | { kind: 'unread'; key: string }
  | { kind: 'system'; key: string; entry: SystemEntry }
  | { kind: 'message'; key: string; entry: MessageLike; first: boolean; last: boolean };

const GROUP_MS = 5 * 60_000;

/** `unreadAfter`: the read cursor when the conversation was opened; the line comes before the first foreign message above it. */
export function buildRows(view: TimelineView, unreadAfter: number | null, me: string): Row[] {
  const rows: Row[] = [{ kind: view.moreBefore ? 'loading' : 'start', key: '$top' }];
  let before: TimelineEntry | null = null;
  let lineShown = unreadAfter === null || startsAbove(view, unreadAfter);
  for (const entry of view.entries) {
    const newDay = before === null || !sameDay(before.ts, entry.ts);
    if (newDay) rows.push({ kind: 'day', key: `day:${entry.key}`, ts: entry.ts });
    const line = !lineShown && isUnread(entry, unreadAfter ?? 0, me);
    if (line) {
      rows.push({ kind: 'unread', key: '$unread' });
      lineShown = true;
    }
    if (isMessage(entry)) {
      const joined =
        !newDay && !line && before !== null && isMessage(before) && follows(before, entry);
      const previous = rows[rows.length - 1];
      if (joined && previous?.kind === 'message') previous.last = false;
      rows.push({ kind: 'message', key: entry.key, entry, first: !joined, last: true });
    } else rows.push({ kind: 'system', key: entry.key, entry });
    before = entry;
  }
  if (view.moreAfter) rows.push({ kind: 'loading', key: '$bottom' });
  return rows;
}

/** What was unread began before the part of the conversation that is loaded: the line cannot be drawn yet. */
export function startsAbove(view: TimelineView, unreadAfter: number): boolean {
  const first = view.entries.find((entry) => 'seq' in entry);
  return view.moreBefore && first !== undefined && 'seq' in first && first.seq > unreadAfter + 1;
}

export function isMessage(entry: TimelineEntry): entry is MessageLike {
  return entry.kind === 'message' || entry.kind === 'pending';
}

function isUnread(entry: TimelineEntry, after: number, me: string): boolean {
  return entry.kind === 'message' && entry.seq > after && entry.from !== me;
}

function follows(before: MessageLike, entry: MessageLike): boolean {
  return before.from === entry.from && entry.ts - before.ts < GROUP_MS;
}

/** A first guess of a row's height, so that little moves when it is measured. */
export function estimateRow(row: Row | undefined): number {
  switch (row?.kind) {
    case 'message':
      return 40 + Math.floor(row.entry.text.length / 60) * 22 + (row.first ? 8 : 0);
    case 'loading':
      return 150;
    case 'start':
      return 200;
    default:
      return 44;
  }
}
