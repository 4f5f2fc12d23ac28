/**
 * Folding durable events into the items that history shows: the same result as the api's own folding.
 *
 * Owns: items by seq, and the late changes that pages may not know yet. Never does: fetch or order by time.
 * Talks to: nobody. Start reading at: `Fold.apply`, `Fold.page`. Source: PROTOCOL.md R24, R25.
 */
import type { Item, MessageItem, MessagesPage, Quote, Reaction } from '../api/types';
import type { DurableEvent, MessageEvent } from './wire';

/** Changes remembered for pages that are older than the live position. */
const CHANGES_MAX = 500;

/** `asOf`: events up to here are in the item. */
type Folded = { item: Item; asOf: number };
type Change = Extract<DurableEvent, { type: 'edit' | 'delete' | 'reaction' }>;

export class Fold {
  readonly #items = new Map<number, Folded>();
  #changes: Change[] = [];
  /** Changes above this seq are all remembered. */
  #floor: number;

  constructor(position: number) {
    this.#floor = position;
  }

  get(seq: number): Item | undefined {
    return this.#items.get(seq)?.item;
  }

  /** Items of a range, ascending. */
  range(low: number, high: number): Item[] {
    const seqs = [...this.#items.keys()].filter((seq) => seq >= low && seq <= high);
    return seqs.sort((a, b) => a - b).flatMap((seq) => this.get(seq) ?? []);
  }

  keepOnly(low: number, high: number): void {
    for (const seq of this.#items.keys()) if (seq < low || seq > high) this.#items.delete(seq);
  }

  /** Quoted messages that are not known here and have to be asked for. */
  openQuotes(): number[] {
    const open = new Set<number>();
    for (const { item } of this.#items.values()) {
      if (item.kind === 'message' && item.reply_to?.from === '') open.add(item.reply_to.seq);
    }
    return [...open];
  }

  /** Takes the next event of the contiguous sequence. */
  apply(event: DurableEvent): void {
    if (event.type === 'edit' || event.type === 'delete' || event.type === 'reaction') {
      this.#changes.push(event);
      if (this.#changes.length > CHANGES_MAX)
        this.#floor = this.#changes.shift()?.seq ?? this.#floor;
      this.#change(event);
    } else if (event.type === 'message') {
      this.#put(this.#message(event), event.seq);
    } else {
      const { type, seq, ordinal, from, ts, body } = event;
      this.#put({ kind: type, seq, ordinal, from, ts, body } as Item, seq);
    }
  }

  /** Takes a page. False: it is older than what is remembered, fetch it again. */
  page(page: MessagesPage): boolean {
    if (page.as_of < this.#floor) return false;
    const fresh = page.items.filter((item) => (this.#items.get(item.seq)?.asOf ?? -1) < page.as_of);
    for (const item of fresh) this.#put(item, page.as_of);
    for (const change of this.#changes) if (change.seq > page.as_of) this.#change(change);
    return true;
  }

  #put(item: Item, asOf: number): void {
    this.#items.set(item.seq, { item: this.#withQuote(item, asOf), asOf });
    if (item.kind === 'message') this.#requote(item);
  }

  /** A quote as new as what is known of the quoted message. */
  #withQuote(item: Item, asOf: number): Item {
    if (item.kind !== 'message' || !item.reply_to) return item;
    const target = this.#items.get(item.reply_to.seq);
    if (!target || target.asOf < asOf || target.item.kind !== 'message') return item;
    return { ...item, reply_to: this.quote(item.reply_to.seq) };
  }

  #message(event: MessageEvent): MessageItem {
    const { seq, ordinal, from, producer, no, ts, body } = event;
    return {
      kind: 'message',
      seq,
      ordinal,
      from,
      producer,
      no,
      ts,
      text: body.text,
      reply_to: body.reply_to === undefined ? null : this.quote(body.reply_to),
      attachments: body.attachments ?? [],
      edited_ts: null,
      deleted: false,
      reactions: [],
    };
  }

  /** `from` is empty while the quoted message is not known. */
  quote(seq: number): Quote {
    const item = this.get(seq);
    if (item?.kind !== 'message') return { seq, from: '', text: '', deleted: false };
    return { seq, from: item.from, text: item.text, deleted: item.deleted };
  }

  #change(event: Change): void {
    const { target } = event.body;
    const held = this.#items.get(target);
    if (!held) this.#changeQuotes(event);
    if (held?.item.kind !== 'message' || event.seq <= held.asOf) return;
    const item = changed(held.item, event);
    this.#items.set(target, { item, asOf: event.seq });
    if (event.type !== 'reaction') this.#requote(item);
  }

  /** Quotes of a message that is outside all windows came with their page and change with it. */
  #changeQuotes(event: Change): void {
    if (event.type === 'reaction') return;
    const deleted = event.type === 'delete';
    const text = event.type === 'edit' ? event.body.text : '';
    for (const [seq, held] of this.#items) {
      const { item } = held;
      if (item.kind !== 'message' || item.reply_to?.seq !== event.body.target) continue;
      if (item.reply_to.deleted || item.reply_to.from === '') continue;
      const reply_to = { ...item.reply_to, text, deleted };
      this.#items.set(seq, { ...held, item: { ...item, reply_to } });
    }
  }

  /** What quotes a message shows its present text. */
  #requote(target: MessageItem): void {
    for (const [seq, held] of this.#items) {
      const { item } = held;
      if (item.kind !== 'message' || item.reply_to?.seq !== target.seq) continue;
      this.#items.set(seq, { ...held, item: { ...item, reply_to: this.quote(target.seq) } });
    }
  }
}

function changed(item: MessageItem, event: Change): MessageItem {
  if (item.deleted) return item;
  switch (event.type) {
    case 'edit':
      return { ...item, text: event.body.text, edited_ts: event.ts };
    case 'delete':
      return { ...item, text: '', attachments: [], reactions: [], deleted: true };
    case 'reaction':
      return { ...item, reactions: reacted(item.reactions, event.from, event.body) };
  }
}

function reacted(
  reactions: readonly Reaction[],
  user: string,
  { emoji, on }: { emoji: string; on: boolean },
): readonly Reaction[] {
  const known = reactions.some((reaction) => reaction.emoji === emoji);
  const all = known || !on ? reactions : [...reactions, { emoji, users: [] }];
  return all
    .map((reaction) => {
      if (reaction.emoji !== emoji) return reaction;
      const others = reaction.users.filter((other) => other !== user);
      if (on && others.length < reaction.users.length) return reaction;
      return { emoji, users: on ? [...others, user] : others };
    })
    .filter((reaction) => reaction.users.length > 0);
}
