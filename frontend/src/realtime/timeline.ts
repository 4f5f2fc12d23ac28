/**
 * One conversation: past pages, live events and own pendings, read as one list.
 *
 * Owns: the position {epoch, seq}, the window on screen, the events put aside while fetching.
 * Never does: send. Talks to: fold, `Backend`. Start reading at: `receive`, `#fill`, `#view`.
 * Source: PROTOCOL.md R20–R29. Applied must equal freshly fetched.
 */
import type { MessagesPage } from '../api/types';
import { entryList, type OwnView } from './entries';
import type { TimelineEntry, TimelineHandle, TimelineView } from './facade';
import { Fold } from './fold';
import type { Backend, Clock, Timer } from './ports';
import { backoffMs } from './session';
import { Cell } from './store';
import type { ConversationId, DurableEvent, HoleFrame } from './wire';

/** Live events put aside while fetching; what is dropped beyond is fetched. */
const BUFFER_MAX = 1_000;
/** More missed events than this: show the newest page instead of replaying them all. */
const JUMP_EVENTS = 2_000;
const STALE_PAGE_TRIES = 3;
/** Frames that come close together are drawn together. */
const DRAW_MS = 8;
const BEHIND = 'the api is behind what was already seen';

type Range = { low: number; high: number; moreBefore: boolean };
type LiveFrame = DurableEvent | HoleFrame;

export type TimelineDeps = {
  clock: Clock;
  random(): number;
  backend: Backend;
  /** Pendings and receipts, read at drawing. */
  own(): OwnView;
  /** All up to here was fetched (for receipts of delivery). */
  fetched(seq: number): void;
  onUse(used: boolean): void;
};

export class Timeline implements TimelineHandle {
  readonly id: ConversationId;
  readonly #deps: TimelineDeps;
  readonly #tick: Cell<number>;
  #position: { epoch: number; seq: number } | null = null;
  #fold = new Fold(0);
  #live: Range | null = null;
  /** A place away from the head (search hit, old quote); null = the live window is shown. */
  #away: Range | null = null;
  #buffer: LiveFrame[] = [];
  #busy = false;
  #refill = false;
  /** How often all had to be fetched anew, and how often that was done. */
  #wanted = 0;
  #renewed = 0;
  #before = false;
  #after = false;
  #failed = false;
  #failures = 0;
  #retry: Timer = null;
  #draw: Timer = null;
  #dirty = true;
  #shown: TimelineView | null = null;
  #entries = new Map<string, TimelineEntry>();
  #closed = false;

  constructor(id: ConversationId, deps: TimelineDeps) {
    this.id = id;
    this.#deps = deps;
    this.#tick = new Cell(0, (used) => {
      deps.onUse(used);
      if (used && !this.#position && !this.#busy) void this.reload();
    });
  }

  subscribe = (listener: () => void): (() => void) => this.#tick.subscribe(listener);

  get = (): TimelineView => {
    if (this.#dirty || !this.#shown) this.#shown = this.#view();
    this.#dirty = false;
    return this.#shown;
  };

  get position(): { epoch: number; seq: number } | null {
    return this.#position;
  }

  /** Messages of others above a seq; null when the window does not hold all of them. */
  unreadAbove(seq: number): number | null {
    if (!this.#live || seq + 1 < this.#live.low) return null;
    const items = this.#fold.range(seq + 1, this.#live.high);
    return items.filter((i) => i.kind === 'message' && i.from !== this.#deps.own().me).length;
  }

  /** Draws again at once: pendings or receipts changed. */
  redraw(): void {
    this.#dirty = true;
    this.#deps.clock.cancel(this.#draw);
    this.#draw = null;
    this.#tick.set(this.#tick.get() + 1);
  }

  close(): void {
    this.#closed = true;
    this.#deps.clock.cancel(this.#retry);
    this.#deps.clock.cancel(this.#draw);
  }

  /** Takes a live event or hole. */
  receive(frame: LiveFrame): void {
    if (!this.#position || this.#busy) {
      this.#putAside(frame);
      return;
    }
    const next = this.#step(frame, this.#position.epoch);
    if (next === 'gap') {
      this.#putAside(frame);
      void this.#fill(first(frame) - 1);
    } else if (next === 'applied') this.#later();
  }

  /** After a welcome. `contiguous`: what was missed follows as events (R27); else it is fetched (R28). */
  up(contiguous: boolean): void {
    this.#failures = 0;
    // What is being fetched may be older than this connection: look again when it is in.
    if (this.#busy) this.#refill = !contiguous || this.#refill;
    else if (!this.#position) {
      if (this.#failed || this.#buffer.length > 0) void this.reload();
    } else if (!contiguous || this.#buffer.length > 0) void this.#fill(null);
  }

  /** What this user may see has changed (somebody was blocked): what is here is replaced. */
  renew(): void {
    this.#wanted += 1;
    void this.#fill(null);
  }

  async reload(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#failed = false;
    this.redraw();
    try {
      await this.#newest();
    } catch {
      this.#failed = this.#position === null;
    }
    this.#busy = false;
    this.#drain();
    this.#lookAgain();
    this.redraw();
  }

  async loadOlder(): Promise<void> {
    const range = this.#away ?? this.#live;
    if (!range?.moreBefore || this.#before) return;
    this.#before = true;
    this.redraw();
    try {
      const page = await this.#page({ before: range.low });
      const low = page.items[0]?.seq ?? range.low;
      range.low = page.more_before ? low : Math.min(low, 1);
      range.moreBefore = page.more_before && page.items.length > 0;
    } finally {
      this.#before = false;
      this.redraw();
    }
  }

  async loadNewer(): Promise<void> {
    const away = this.#away;
    if (!away || this.#after) return;
    this.#after = true;
    this.redraw();
    try {
      const page = await this.#page({ after: away.high });
      away.high = page.items.at(-1)?.seq ?? away.high;
      this.#join(away, page);
    } finally {
      this.#after = false;
      this.redraw();
    }
  }

  async jumpTo(seq: number): Promise<void> {
    if (this.#live && seq >= this.#live.low) {
      this.#away = null;
      this.redraw();
      return;
    }
    const page = await this.#page({ around: seq });
    const [head, tail] = [page.items[0]?.seq ?? seq, page.items.at(-1)?.seq ?? seq];
    const away = { low: page.more_before ? head : 1, high: tail, moreBefore: page.more_before };
    this.#away = away;
    this.#join(away, page);
    this.redraw();
  }

  async jumpToNewest(): Promise<void> {
    this.#away = null;
    if (!this.#live) await this.reload();
    this.redraw();
  }

  /** The window that was away has reached the live one: they become one. */
  #join(away: Range, page: MessagesPage): void {
    if (!this.#live || (page.more_after && away.high < this.#live.low - 1)) return;
    this.#live.low = Math.min(this.#live.low, away.low);
    this.#live.moreBefore = away.moreBefore;
    if (this.#away === away) this.#away = null;
  }

  async #newest(): Promise<void> {
    const wanted = this.#wanted;
    const page = await this.#deps.backend.messages(this.id, {});
    if (this.#position && page.as_of < this.#position.seq) throw new Error(BEHIND);
    this.#renewed = wanted;
    this.#fold = new Fold(page.as_of);
    this.#fold.page(page);
    this.#away = null;
    this.#position = { epoch: page.epoch, seq: page.as_of };
    this.#live = {
      low: page.more_before ? (page.items[0]?.seq ?? page.as_of) : 1,
      high: Number.MAX_SAFE_INTEGER,
      moreBefore: page.more_before,
    };
    this.#deps.fetched(page.as_of);
    this.#quotes();
  }

  async #page(at: { before?: number; after?: number; around?: number }): Promise<MessagesPage> {
    const { backend } = this.#deps;
    for (let tries = 1; ; tries += 1) {
      const page = await backend.messages(this.id, at);
      if (this.#fold.page(page)) {
        this.#quotes();
        return page;
      }
      if (tries >= STALE_PAGE_TRIES) throw new Error(BEHIND);
    }
  }

  /** Fetches from the position on until nothing is missing. */
  async #fill(minSeq: number | null): Promise<void> {
    if (this.#busy || !this.#position || this.#closed) return;
    this.#busy = true;
    this.#later();
    try {
      if (this.#renewed < this.#wanted) await this.#newest();
      else await this.#follow(this.#position, minSeq);
      this.#busy = false;
      if (this.#drain()) this.#failures = 0;
      else this.#again();
      this.#lookAgain();
    } catch {
      this.#busy = false;
      this.#again();
    }
    this.#later();
  }

  /** Event by event, or by the newest page when there are too many. */
  async #follow(from: { epoch: number; seq: number }, minSeq: number | null): Promise<void> {
    let [position, least] = [from, minSeq];
    for (;;) {
      const page = await this.#deps.backend.events(this.id, position.seq, least);
      if (page.head - position.seq > JUMP_EVENTS) return this.#newest();
      const before = position.seq;
      for (const frame of page.events) this.#step(frame, null);
      position = { epoch: page.epoch, seq: this.#position?.seq ?? before };
      this.#position = position;
      if (position.seq >= page.head || position.seq === before) return;
      least = null;
    }
  }

  #lookAgain(): void {
    if (this.#busy || (!this.#refill && this.#renewed === this.#wanted)) return;
    this.#refill = false;
    void this.#fill(null);
  }

  #again(): void {
    const { clock, random } = this.#deps;
    clock.cancel(this.#retry);
    this.#failures += 1;
    this.#retry = clock.after(100 + backoffMs(this.#failures, random), () => void this.#fill(null));
  }

  /** Applies what was put aside. False: something is still missing. */
  #drain(): boolean {
    if (!this.#position) return true;
    const waiting = this.#buffer.sort((a, b) => first(a) - first(b));
    this.#buffer = [];
    for (const [i, frame] of waiting.entries()) {
      if (this.#step(frame, this.#position.epoch) === 'gap') {
        this.#buffer = waiting.slice(i);
        if (this.#failures === 0 && !this.#busy) {
          this.#failures = 1;
          void this.#fill(first(frame) - 1);
          return true;
        }
        return false;
      }
    }
    return true;
  }

  /** One step of rule R22. `epoch` null: the frame comes from the api, whose order alone counts. */
  #step(frame: LiveFrame, epoch: number | null): 'applied' | 'old' | 'gap' {
    const position = this.#position;
    if (!position) return 'gap';
    const last = frame.type === 'hole' ? frame.to : frame.seq;
    if (last <= position.seq || (epoch !== null && frame.epoch < epoch)) return 'old';
    if (first(frame) > position.seq + 1 || (epoch !== null && frame.epoch > epoch)) return 'gap';
    this.#position = { epoch: position.epoch, seq: last };
    if (frame.type === 'hole') return 'applied';
    this.#fold.apply(frame);
    if (frame.type === 'message' && frame.body.reply_to !== undefined) this.#quotes();
    return 'applied';
  }

  /** Asks for quoted messages that are outside all windows. One failure leaves the quote without its text. */
  #quotes(): void {
    const fold = this.#fold;
    for (const seq of fold.openQuotes().slice(0, 10)) {
      this.#deps.backend
        .messages(this.id, { around: seq })
        .then((page) => {
          if (fold === this.#fold && fold.page(page)) this.#later();
        })
        .catch(() => undefined);
    }
  }

  #putAside(frame: LiveFrame): void {
    this.#buffer.push(frame);
    if (this.#buffer.length > BUFFER_MAX) this.#buffer.shift();
  }

  #later(): void {
    this.#dirty = true;
    this.#draw ??= this.#deps.clock.after(DRAW_MS, () => this.redraw());
  }

  #view(): TimelineView {
    const range = this.#away ?? this.#live;
    const items = range ? this.#fold.range(range.low, range.high) : [];
    const quote = (seq: number) => this.#fold.quote(seq);
    const own = this.#deps.own();
    const pendings = this.#away ? [] : own.pendings;
    this.#entries = entryList(items, { ...own, pendings }, quote, this.#entries);
    return {
      entries: [...this.#entries.values()],
      phase: this.#live ? 'ready' : this.#failed ? 'failed' : 'loading',
      moreBefore: range?.moreBefore ?? false,
      moreAfter: this.#away !== null,
      loadingBefore: this.#before,
      loadingAfter: this.#after,
      catchingUp: this.#position !== null && (this.#busy || this.#buffer.length > 0),
    };
  }
}

function first(frame: LiveFrame): number {
  return frame.type === 'hole' ? frame.from : frame.seq;
}
