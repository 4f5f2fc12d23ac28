/**
 * The conversation list, kept up by events; `applyEvent` is the pure heart of it.
 *
 * Owns: one summary per conversation with its head. Never does: hold messages (timelines do).
 * Talks to: `Backend`. Start reading at: `applyEvent`, `Conversations.receive`.
 */
import type { Conversation, MinePatch } from '../api/types';
import type { ConversationsState, UnreadState } from './facade';
import type { Backend } from './ports';
import { Cell } from './store';
import type { ConversationId, DurableEvent, HoleFrame, UserId } from './wire';

/** `old`: already in. `gap`: events are missing, or the conversation is not what this event can be applied to. */
export type Applied = { result: 'applied'; conversation: Conversation } | { result: 'old' | 'gap' };

/** Applies the next event to a summary, guarded by its head. Pure. */
export function applyEvent(c: Conversation, event: DurableEvent | HoleFrame, me: UserId): Applied {
  const [low, high] = event.type === 'hole' ? [event.from, event.to] : [event.seq, event.seq];
  if (event.epoch < c.head.epoch || high <= c.head.seq) return { result: 'old' };
  if (event.epoch > c.head.epoch || low > c.head.seq + 1) return { result: 'gap' };
  const head = { ...c.head, seq: high };
  if (event.type === 'hole') return { result: 'applied', conversation: { ...c, head } };
  head.ordinal = event.ordinal;
  const next = { ...c, head };
  switch (event.type) {
    case 'message': {
      const { from, seq, ts, body } = event;
      next.last_message = { seq, from, text: body.text, ts, deleted: false, kind: 'message' };
      next.activity_ts = Math.max(c.activity_ts, ts);
      // Own messages move one's own cursor.
      next.unread = from === me ? 0 : c.unread + 1;
      if (from === me) next.read = seq;
      next.hidden = false;
      break;
    }
    case 'edit':
    case 'delete':
      if (c.last_message?.seq === event.body.target) {
        const deleted = event.type === 'delete';
        const text = event.type === 'edit' ? event.body.text : '';
        next.last_message = { ...c.last_message, text, deleted: c.last_message.deleted || deleted };
      }
      break;
    case 'settings':
      next.title = event.body.title ?? c.title;
      next.history = event.body.history ?? c.history;
      break;
    case 'created':
    case 'member':
      // Counts and roles are the api's to say: read the summary again.
      return { result: 'gap' };
    case 'reaction':
      break;
  }
  return { result: 'applied', conversation: next };
}

/** Pinned first, then latest activity. */
export function inOrder(a: Conversation, b: Conversation): number {
  return (
    Number(b.pinned) - Number(a.pinned) || b.activity_ts - a.activity_ts || (a.id < b.id ? -1 : 1)
  );
}

export class Conversations {
  readonly state = new Cell<ConversationsState>({ phase: 'loading', list: [], byId: new Map() });
  readonly unread = new Cell<UnreadState>({ total: 0, conversations: 0, byId: new Map() });
  readonly #backend: Backend;
  readonly #me: UserId;
  readonly #fetched: (conversation: Conversation) => void;
  readonly #reading = new Map<ConversationId, { again: boolean }>();
  #refreshing: Promise<void> | null = null;
  #again = false;

  constructor(backend: Backend, me: UserId, fetched: (conversation: Conversation) => void) {
    this.#backend = backend;
    this.#me = me;
    this.#fetched = fetched;
  }

  get(id: ConversationId): Conversation | undefined {
    return this.state.get().byId.get(id);
  }

  /** Reads the whole list. One at a time; asked for meanwhile, once more after it. */
  refresh(): Promise<void> {
    if (this.#refreshing) this.#again = true;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
      if (this.#again) {
        this.#again = false;
        void this.refresh();
      }
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    try {
      const fresh = await this.#backend.conversations();
      this.#show(new Map(fresh.map((c) => [c.id, this.#newer(c)])));
      for (const conversation of fresh) this.#fetched(conversation);
    } catch {
      const now = this.state.get();
      if (now.phase === 'loading') this.state.set({ ...now, phase: 'failed' });
    }
  }

  receive(event: DurableEvent | HoleFrame): void {
    const held = this.get(event.conversation);
    if (!held) {
      // A hole alone never makes a conversation appear.
      if (event.type !== 'hole') void this.#read(event.conversation);
      return;
    }
    const applied = applyEvent(held, event, this.#me);
    if (applied.result === 'applied') this.put(applied.conversation);
    if (applied.result === 'gap') void this.#read(event.conversation);
  }

  put(conversation: Conversation): void {
    this.#show(new Map(this.state.get().byId).set(conversation.id, conversation));
  }

  /** An own cursor moved, here or on another device. `left`: unread above it, if known. */
  read(id: ConversationId, seq: number, left: number | null): void {
    const held = this.get(id);
    if (!held || seq <= held.read) return;
    const done = seq >= (held.last_message?.seq ?? held.head.seq);
    const unread = done ? 0 : Math.min(left ?? held.unread, held.unread);
    this.put({ ...held, read: seq, unread });
    // Only the api can count messages that are not here.
    if (!done && left === null && held.unread > 0) void this.#read(id);
  }

  async patch(id: ConversationId, patch: MinePatch): Promise<void> {
    const before = this.get(id);
    if (before) this.put({ ...before, ...patch });
    try {
      await this.#backend.patchMine(id, patch);
    } catch (error) {
      void this.#read(id);
      throw error;
    }
  }

  async #read(id: ConversationId): Promise<void> {
    const running = this.#reading.get(id);
    if (running) {
      running.again = true;
      return;
    }
    const run = { again: false };
    this.#reading.set(id, run);
    try {
      const fresh = await this.#backend.conversation(id);
      this.put(this.#newer(fresh));
      this.#fetched(fresh);
    } catch {
      // Removed from it, or out of reach: the list tells, now or after the next welcome.
      if (this.get(id)) await this.refresh();
    }
    this.#reading.delete(id);
    if (run.again) void this.#read(id);
  }

  /** What was fetched may be older than what live events made of it. */
  #newer(fresh: Conversation): Conversation {
    const held = this.get(fresh.id);
    if (!held) return fresh;
    const behind = fresh.head.epoch === held.head.epoch && fresh.head.seq < held.head.seq;
    if (behind) {
      const { head, last_message, activity_ts, unread } = held;
      return {
        ...fresh,
        head,
        last_message,
        activity_ts,
        unread,
        read: Math.max(fresh.read, held.read),
      };
    }
    // This device read further than the server has heard yet.
    if (held.read > fresh.read && held.unread === 0 && held.read >= fresh.head.seq) {
      return { ...fresh, read: held.read, unread: 0 };
    }
    return fresh;
  }

  #show(byId: ReadonlyMap<ConversationId, Conversation>): void {
    const list = [...byId.values()].sort(inOrder);
    this.state.set({ phase: 'ready', list, byId });
    const counted = list.filter((c) => !c.muted && (c.unread > 0 || c.marked_unread));
    this.unread.set({
      total: counted.reduce((sum, c) => sum + Math.max(c.unread, 1), 0),
      conversations: counted.length,
      byId: new Map(list.filter((c) => c.unread > 0).map((c) => [c.id, c.unread])),
    });
  }
}
