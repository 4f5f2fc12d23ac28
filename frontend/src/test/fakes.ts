/** A clock, a socket and a server-in-a-box for tests of realtime/. No timers, no network. */
import type { Conversation, EventsPage, MessagesPage, ReceiptsReply } from '../api/types';
import { Fold } from '../realtime/fold';
import type { Backend, Clock, Locks, Ports, RefreshOutcome, WireEvents } from '../realtime/ports';
import { MemoryStorage, type PendingStorage } from '../realtime/storage';
import type { Command, DurableEvent, Frame, HoleFrame, WelcomeFrame } from '../realtime/wire';

export const ME = '00000000000000a1';
export const BOB = '00000000000000b2';
export const DIRECT = ME + BOB;

/** Lets everything that is already resolved run. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock implements Clock {
  #now = 1_764_000_000_000;
  #timers = new Map<number, { at: number; run: () => void }>();
  #next = 1;
  now = () => this.#now;
  after(ms: number, run: () => void): number {
    this.#timers.set(this.#next, { at: this.#now + ms, run });
    return this.#next++;
  }
  cancel(timer: unknown): void {
    this.#timers.delete(timer as number);
  }
  /** Runs what falls due, in order. */
  async advance(ms: number): Promise<void> {
    await settled();
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter(([, t]) => t.at <= end)
        .sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

/** Deterministic: mulberry32. */
export function seeded(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export type Sent = Command & { id?: number };

export class FakeSocket {
  readonly sent: Sent[] = [];
  closed = false;
  readonly events: WireEvents;
  readonly token: string | null;
  constructor(token: string | null, events: WireEvents) {
    this.token = token;
    this.events = events;
  }
  open(): void {
    this.events.onopen();
  }
  say(frame: Frame | Record<string, unknown>): void {
    this.events.onmessage(JSON.stringify(frame));
  }
  welcome(clock: Clock, patch: Partial<WelcomeFrame> = {}): void {
    this.open();
    this.say({
      type: 'welcome',
      protocol: 'webchat.v1',
      user: ME,
      session: 'c'.repeat(32),
      node: 'n1',
      expires_at: clock.now() + 600_000,
      server_time: clock.now(),
      durability: 'fsync',
      heartbeat_ms: 25_000,
      resume: 'fresh',
      at: '1-1',
      ...patch,
    });
  }
  end(code: number): void {
    this.events.onend(code);
  }
  of<T extends Command['type']>(type: T): Extract<Sent, { type: T }>[] {
    return this.sent.filter((c): c is Extract<Sent, { type: T }> => c.type === type);
  }
}

export class SharedLocks {
  readonly held = new Set<string>();
  /** The locks as one tab sees them; `die` is what happens when it crashes. */
  tab(): Locks & { die(): void } {
    const mine = new Set<string>();
    return {
      tryHold: async (name) => {
        if (this.held.has(name)) return null;
        this.held.add(name);
        mine.add(name);
        return () => void this.held.delete(name);
      },
      die: () => {
        for (const name of mine) this.held.delete(name);
      },
    };
  }
}

/** History as the api would answer it: folds the true events from the start. */
export class FakeBackend implements Backend {
  readonly events_: (DurableEvent | HoleFrame)[] = [];
  epoch = 1;
  list: Conversation[] = [];
  failing = false;
  refreshes = 0;
  refreshOutcome: RefreshOutcome = { ok: true, token: 'new-token', expiresAt: 0 };
  pageSize = 20;

  async refresh(): Promise<RefreshOutcome> {
    this.refreshes += 1;
    return this.refreshOutcome;
  }
  async conversations(): Promise<Conversation[]> {
    return this.list;
  }
  async conversation(id: string): Promise<Conversation> {
    const found = this.list.find((c) => c.id === id);
    if (!found) throw new Error('not found');
    return found;
  }
  async patchMine(): Promise<void> {
    if (this.failing) throw new Error('down');
  }
  receiptsReply: ReceiptsReply = { receipts: [] };
  /** The seqs of each question, and whether it was given up. */
  readonly receiptsAsked: { seqs: readonly number[]; signal: AbortSignal | undefined }[] = [];
  async receipts(
    _id: string,
    seqs: readonly number[] = [],
    signal?: AbortSignal,
  ): Promise<ReceiptsReply> {
    this.receiptsAsked.push({ seqs, signal });
    return this.receiptsReply;
  }
  get head(): number {
    const last = this.events_.at(-1);
    return last ? (last.type === 'hole' ? last.to : last.seq) : 0;
  }
  async events(_id: string, after: number): Promise<EventsPage> {
    if (this.failing) throw new Error('down');
    const rest = this.events_.filter((e) => (e.type === 'hole' ? e.to : e.seq) > after);
    return { epoch: this.epoch, head: this.head, events: rest.slice(0, this.pageSize) };
  }
  async messages(
    _id: string,
    at: { before?: number; after?: number; around?: number },
  ): Promise<MessagesPage> {
    if (this.failing) throw new Error('down');
    const fold = new Fold(0);
    for (const event of this.events_) if (event.type !== 'hole') fold.apply(event);
    const all = fold.range(0, Number.MAX_SAFE_INTEGER);
    const { before, after, around } = at;
    let from = Math.max(0, all.length - this.pageSize);
    let to = all.length;
    if (before !== undefined) {
      to = all.filter((i) => i.seq < before).length;
      from = Math.max(0, to - this.pageSize);
    } else if (after !== undefined) {
      from = all.filter((i) => i.seq <= after).length;
      to = Math.min(all.length, from + this.pageSize);
    } else if (around !== undefined) {
      from = Math.max(0, all.filter((i) => i.seq < around).length - this.pageSize / 2);
      to = Math.min(all.length, from + this.pageSize);
    }
    return {
      as_of: this.head,
      epoch: this.epoch,
      items: all.slice(from, to),
      more_before: from > 0,
      more_after: to < all.length,
    };
  }
}

export function world(seed = 1, storage: PendingStorage = new MemoryStorage(), locks?: Locks) {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  const backend = new FakeBackend();
  const around = { hidden: false, online: true, listeners: new Set<() => void>() };
  const ports: Ports = {
    clock,
    random: seeded(seed),
    backend,
    storage,
    locks: locks ?? new SharedLocks().tab(),
    clientName: 'test',
    surroundings: {
      hidden: () => around.hidden,
      online: () => around.online,
      onChange: (listener) => {
        around.listeners.add(listener);
        return () => around.listeners.delete(listener);
      },
    },
    openWire: (token, events) => {
      const socket = new FakeSocket(token, events);
      sockets.push(socket);
      return {
        send: (text) => void socket.sent.push(JSON.parse(text)),
        close: () => {
          socket.closed = true;
        },
      };
    },
  };
  const socket = (): FakeSocket => {
    const last = sockets.at(-1);
    if (!last) throw new Error('no socket was opened');
    return last;
  };
  const surround = (patch: { hidden?: boolean; online?: boolean }) => {
    Object.assign(around, patch);
    for (const listener of around.listeners) listener();
  };
  return { clock, backend, ports, sockets, socket, surround };
}
