/**
 * From items and pendings to what a timeline shows, keeping the identity of entries that did not change.
 *
 * Owns: keys and status of own messages. Never does: keep state. Talks to: nobody. Start reading at: `entryList`.
 */
import type { Item, Quote } from '../api/types';
import type { CountsView, OwnStatus, ReceiptsView, TimelineEntry } from './facade';
import type { Pending } from './storage';
import type { UserId } from './wire';

export type OwnView = {
  me: UserId;
  pendings: readonly Pending[];
  receipts: ReceiptsView;
  counts: CountsView;
};

export function keyOf(message: { from: UserId; producer: string; no: number }): string {
  return `${message.from}:${message.producer}:${message.no}`;
}

/** Read (or delivered) counts when everybody else has read it. Where nobody is named, by what was counted. */
export function statusOf(
  seq: number,
  { receipts, counts }: Pick<OwnView, 'receipts' | 'counts'>,
): OwnStatus {
  const cursors = receipts.size > 0 ? [...receipts.values()] : counts.of > 0 ? [counts.all] : [];
  if (cursors.length === 0) return { state: 'sent' };
  if (cursors.every((cursor) => cursor.read >= seq)) return { state: 'read' };
  const got = cursors.every((cursor) => Math.max(cursor.delivered, cursor.read) >= seq);
  return { state: got ? 'delivered' : 'sent' };
}

function pendingStatus(pending: Pending): OwnStatus {
  const { failed } = pending;
  if (failed) return { state: 'failed', code: failed.code, message: failed.message };
  return { state: pending.ack ? 'sent' : 'sending' };
}

/** Ascending by seq, then pendings whose message is not among the items (R15: matched by producer and no). */
export function entryList(
  items: readonly Item[],
  own: OwnView,
  quote: (seq: number) => Quote,
  before: ReadonlyMap<string, TimelineEntry>,
): Map<string, TimelineEntry> {
  const entries = new Map<string, TimelineEntry>();
  const sources = new Set<number>();
  const keep = (key: string, entry: TimelineEntry) => {
    const old = before.get(key);
    entries.set(key, old && same(old, entry) ? old : entry);
  };
  for (const item of items) {
    sources.add(item.seq);
    if (item.kind === 'message') {
      const status = item.from === own.me ? statusOf(item.seq, own) : null;
      const key = keyOf(item);
      keep(key, { ...item, key, status });
    } else {
      const key = `seq:${item.seq}`;
      keep(key, { ...item, key });
    }
  }
  const covered = items.at(-1)?.seq ?? 0;
  for (const pending of own.pendings) {
    const { id, producer, no, ts, body, ack } = pending;
    const key = keyOf({ from: own.me, producer, no });
    const shown = entries.has(key) || (ack !== null && (sources.has(ack.seq) || ack.seq < covered));
    if (shown) continue;
    keep(key, {
      kind: 'pending',
      key,
      id,
      from: own.me,
      ts,
      text: body.text,
      reply_to: body.reply_to === undefined ? null : quote(body.reply_to),
      attachments: body.attachments ?? [],
      status: pendingStatus(pending),
    });
  }
  return entries;
}

/** Field by field; what folding leaves alone keeps its reference, and status and quote are small. */
function same(a: TimelineEntry, b: TimelineEntry): boolean {
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return Object.keys(right).every((field) => {
    if (Object.is(left[field], right[field])) return true;
    return (
      (field === 'status' || field === 'reply_to') &&
      JSON.stringify(left[field]) === JSON.stringify(right[field])
    );
  });
}
