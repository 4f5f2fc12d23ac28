/**
 * How many have got and read own messages where the api names nobody (more than 32 members).
 *
 * Owns: which messages are on screen, when they are counted, what was counted. Never does: count where people are named.
 * Talks to: `Backend` (through `ask`), clock, surroundings. Start reading at: `look`, `#ask`. Source: PROTOCOL.md R31.
 * Limits: one conversation, COUNTED_MAX messages and one request at a time; rarer and rarer while nothing changes.
 */
import type { ReceiptCount, ReceiptsReply } from '../api/types';
import type { CountsView, ReceiptCursor } from './facade';
import type { Clock, Surroundings, Timer } from './ports';
import { Cell, type Store } from './store';
import type { ConversationId } from './wire';

/** The newest own messages on screen; the api takes 100. */
export const COUNTED_MAX = 20;
/** Scrolling and writing end before anything is asked, and a new message has reached the first devices. */
export const DEBOUNCE_MS = 1_000;
/** While it stays on screen; twice as long after each turn that brought nothing new. */
export const EVERY_MS = 15_000;
export const EVERY_MAX_MS = 60_000;
/** Messages whose counts are kept, per conversation. */
const KEPT_MAX = 200;
/** Nobody is below it: its count is how many there are to wait for. */
const EVERYBODY = 0;
export const NOTHING_COUNTED: CountsView = {
  of: 0,
  all: { delivered: 0, read: 0 },
  bySeq: new Map(),
};

export type CountsDeps = {
  clock: Clock;
  random(): number;
  surroundings: Surroundings;
  connected(): boolean;
  ask(id: ConversationId, seqs: readonly number[], signal: AbortSignal): Promise<ReceiptsReply>;
  /** The group has become small: everybody has a name there now. */
  named(id: ConversationId, reply: ReceiptsReply): void;
};

type OnScreen = { id: ConversationId; seqs: readonly number[]; unlisten(): void };

export class Counts {
  readonly #deps: CountsDeps;
  /** Conversations in which the api only counts, and what it counted. */
  readonly #cells = new Map<ConversationId, Cell<CountsView>>();
  readonly #large = new Set<ConversationId>();
  /** Members or their settings have changed since: what was counted is replaced, not added to. */
  readonly #stale = new Set<ConversationId>();
  #screen: OnScreen | null = null;
  #timer: Timer = null;
  #dueAt = 0;
  #running: AbortController | null = null;
  #quiet = 0;

  constructor(deps: CountsDeps) {
    this.#deps = deps;
  }

  in(id: ConversationId): Store<CountsView> {
    return this.#cell(id);
  }

  /** These own messages are on screen now, oldest first; none: it was left. */
  look(id: ConversationId, seqs: readonly number[]): void {
    if (seqs.length === 0) {
      if (this.#screen?.id === id) this.leave();
      return;
    }
    if (this.#screen?.id !== id) {
      this.leave();
      const unlisten = this.#deps.surroundings.onChange(() => this.#again());
      this.#screen = { id, seqs: [], unlisten };
    }
    if (this.#screen) this.#screen.seqs = seqs.slice(-COUNTED_MAX);
    this.#again();
  }

  /** Whether the api only counts there: it was just asked who is to be waited for. */
  known(id: ConversationId, large: boolean): void {
    if (!large) {
      this.#large.delete(id);
      this.#cell(id).set(NOTHING_COUNTED);
      return;
    }
    this.#large.add(id);
    this.#stale.add(id);
    if (this.#screen?.id !== id) return;
    // What is being counted may be from before the change.
    this.#abort();
    this.#again();
  }

  /** Nothing is on screen any more. */
  leave(): void {
    this.#screen?.unlisten();
    this.#screen = null;
    this.#abort();
    this.#deps.clock.cancel(this.#timer);
    this.#timer = null;
  }

  forget(id: ConversationId): void {
    for (const held of [this.#cells, this.#large, this.#stale]) held.delete(id);
  }

  #again(): void {
    this.#quiet = 0;
    this.#after(DEBOUNCE_MS);
  }

  #abort(): void {
    this.#running?.abort();
    this.#running = null;
  }

  #after(ms: number): void {
    const { clock } = this.#deps;
    clock.cancel(this.#timer);
    this.#dueAt = clock.now() + ms;
    this.#timer = clock.after(ms, () => void this.#ask());
  }

  /** What nobody can see, or what can change no more, is not asked for. */
  #wanted({ id, seqs }: OnScreen): readonly number[] {
    const { surroundings, connected } = this.#deps;
    if (!this.#large.has(id) || surroundings.hidden() || !connected()) return [];
    const { all } = this.#cell(id).get();
    return this.#stale.has(id) ? seqs : seqs.filter((seq) => seq > all.read);
  }

  async #ask(): Promise<void> {
    this.#timer = null;
    const screen = this.#screen;
    const seqs = screen ? this.#wanted(screen) : [];
    if (!screen || seqs.length === 0) return;
    this.#abort();
    const running = new AbortController();
    this.#running = running;
    // An answer that does not come by then is not waited for.
    this.#after(this.#pauseMs());
    try {
      const { signal } = running;
      const reply = await this.#deps.ask(screen.id, [EVERYBODY, ...seqs], signal);
      if (this.#running !== running) return;
      if (!('counts' in reply)) return this.#deps.named(screen.id, reply);
      if (this.#counted(screen.id, reply.counts)) this.#soon();
      else this.#quiet += 1;
    } catch {
      // Ticks stay as they are until the next turn.
      if (this.#running === running) this.#quiet += 1;
    }
    if (this.#running === running) this.#running = null;
  }

  /** Where some read, others follow: the next turn comes early, unless an earlier one is due. */
  #soon(): void {
    this.#quiet = 0;
    const pause = this.#pauseMs();
    if (this.#deps.clock.now() + pause < this.#dueAt) this.#after(pause);
  }

  /** Up to a quarter longer, so that the readers of one group do not ask together. */
  #pauseMs(): number {
    const pause = Math.min(EVERY_MAX_MS, EVERY_MS * 2 ** this.#quiet);
    return pause * (1 + this.#deps.random() / 4);
  }

  /** Returns whether anything has changed. */
  #counted(id: ConversationId, counts: readonly ReceiptCount[]): boolean {
    const cell = this.#cell(id);
    const before = this.#stale.delete(id) ? NOTHING_COUNTED : cell.get();
    const of = counts.find(({ seq }) => seq === EVERYBODY)?.delivered ?? 0;
    const bySeq = new Map(before.bySeq);
    let { delivered, read } = before.all;
    for (const count of counts) {
      if (count.seq === EVERYBODY) continue;
      bySeq.set(count.seq, { delivered: count.delivered, read: count.read });
      if (of > 0 && count.delivered >= of) delivered = Math.max(delivered, count.seq);
      if (of > 0 && count.read >= of) read = Math.max(read, count.seq);
    }
    for (const seq of bySeq.keys()) {
      if (bySeq.size <= KEPT_MAX) break;
      bySeq.delete(seq);
    }
    const after: CountsView = { of, all: { delivered, read }, bySeq };
    if (same(cell.get(), after)) return false;
    cell.set(after);
    return true;
  }

  #cell(id: ConversationId): Cell<CountsView> {
    const cell = this.#cells.get(id) ?? new Cell(NOTHING_COUNTED);
    this.#cells.set(id, cell);
    return cell;
  }
}

/** How many of the others have read one message; null where it was not counted. */
export function readersOf({ of, all, bySeq }: CountsView, seq: number): number | null {
  if (of === 0) return null;
  return seq <= all.read ? of : (bySeq.get(seq)?.read ?? null);
}

function same(a: CountsView, b: CountsView): boolean {
  const equal = (x: ReceiptCursor | undefined, y: ReceiptCursor) =>
    x?.delivered === y.delivered && x.read === y.read;
  if (a.of !== b.of || a.bySeq.size !== b.bySeq.size || !equal(a.all, b.all)) return false;
  return [...b.bySeq].every(([seq, count]) => equal(a.bySeq.get(seq), count));
}
