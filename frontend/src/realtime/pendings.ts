/**
 * Own messages from Enter to "in the store": numbering, sending in order, answers, re-sending, adoption.
 *
 * Owns: every pending of this tab and of the dead tabs it adopted. Never does: draw, or touch a socket directly.
 * Talks to: session (through `Send`), storage, locks. Start reading at: `add`, `#pump`, `#answered`.
 * Source: PROTOCOL.md §4. Safety: a message keeps its key (producer, no) until the server has said that the key is free.
 */
import { retryOf } from './codes';
import { type Clock, type Locks, newProducer } from './ports';
import { Queue, sameBody } from './queue';
import type { Reply } from './session';
import type { Pending, PendingStorage } from './storage';
import { Cell } from './store';
import type {
  AckFrame,
  Command,
  ConversationId,
  DurableEvent,
  MessageBody,
  PersistedFrame,
  Producer,
} from './wire';

/** In flight per conversation; the server allows 64 per connection. */
const WINDOW = 16;
const IN_FLIGHT_MAX = 48;
const RETRY_BASE_MS = 500;
const RETRY_MAX_MS = 30_000;
const LOCK = (user: string, producer: Producer) => `webchat-producer-${user}-${producer}`;

export type Send = (command: Command) => { id: number; reply: Promise<Reply> } | null;

type Deps = {
  user: string;
  clock: Clock;
  random(): number;
  storage: PendingStorage;
  locks: Locks;
  send: Send;
  /** A publish of this request id was answered by an ack. */
  settle(id: number): void;
  changed(conversation: ConversationId): void;
};

export class Pendings {
  /** Not yet durable, in all conversations. */
  readonly unsent = new Cell(0);
  readonly producer: Producer;
  readonly #deps: Deps;
  readonly #queues = new Map<ConversationId, Queue>();
  readonly #held = new Map<Producer, () => void>();
  #up = false;
  #order = 0;
  #lane: Promise<unknown> = Promise.resolve();

  constructor(deps: Deps) {
    this.#deps = deps;
    this.producer = newProducer(deps.random);
  }

  /** Takes this tab's lock and adopts what dead tabs left. Call it at start and after each welcome. */
  async adopt(): Promise<void> {
    const { locks, user, storage } = this.#deps;
    await this.#hold(this.producer);
    const records = await storage.all().catch(() => []);
    const producers = new Set(records.map((record) => record.producer));
    for (const producer of producers) {
      if (producer === this.producer || this.#held.has(producer)) continue;
      const release = await locks.tryHold(LOCK(user, producer));
      if (!release) continue;
      this.#held.set(producer, release);
      // Read again under the lock: its tab may have sent or dropped some meanwhile.
      const left = (await storage.all().catch(() => [])).filter((r) => r.producer === producer);
      for (const record of left.sort((a, b) => a.order - b.order)) this.#take(record);
    }
  }

  async #hold(producer: Producer): Promise<void> {
    if (this.#held.has(producer)) return;
    const release = await this.#deps.locks.tryHold(LOCK(this.#deps.user, producer));
    if (release) this.#held.set(producer, release);
  }

  /** Releases the locks: another tab may adopt what is left. */
  async close(): Promise<void> {
    this.down();
    await this.#lane;
    for (const release of this.#held.values()) release();
    this.#held.clear();
  }

  async forget(): Promise<void> {
    this.#queues.clear();
    this.unsent.set(0);
    await this.#lane;
    await this.#deps.storage.clear().catch(() => undefined);
  }

  list(conversation: ConversationId): readonly Pending[] {
    return this.#queues.get(conversation)?.items ?? [];
  }

  /** The last number this tab used there, for `typing`. */
  lastNo(conversation: ConversationId): number {
    return this.#queues.get(conversation) ? this.#queue(conversation).nextNo(this.producer) - 1 : 0;
  }

  add(conversation: ConversationId, body: MessageBody): Pending {
    const queue = this.#queue(conversation);
    const { clock, random } = this.#deps;
    this.#order = Math.max(this.#order + 1, clock.now() * 1000);
    const pending: Pending = {
      id: newProducer(random),
      order: this.#order,
      conversation,
      producer: this.producer,
      no: queue.nextNo(this.producer),
      body,
      ts: clock.now(),
      ack: null,
      failed: null,
    };
    queue.items.push(pending);
    queue.due.add(pending.id);
    this.#save([pending]);
    this.#changed(conversation);
    this.#pump(conversation);
    return pending;
  }

  retry(id: string): void {
    const found = this.#find(id);
    if (!found?.failed) return;
    this.discard(id);
    this.add(found.conversation, found.body);
  }

  /** Only failed ones: of all others nobody knows whether they are on their way. */
  discard(id: string): void {
    const found = this.#find(id);
    if (found?.failed) this.#remove(this.#queue(found.conversation), [found]);
  }

  up(): void {
    this.#up = true;
    for (const [conversation, queue] of this.#queues) {
      for (const item of queue.items) if (!item.failed) queue.due.add(item.id);
      queue.failures = 0;
      this.#resume(conversation, queue);
    }
  }

  down(): void {
    this.#up = false;
    for (const queue of this.#queues.values()) {
      queue.flights.clear();
      this.#deps.clock.cancel(queue.timer);
      queue.paused = false;
    }
  }

  onAck(ack: AckFrame): void {
    const queue = this.#queues.get(ack.conversation);
    if (!queue) return;
    const item = queue.items.find(
      (i) => !i.failed && i.producer === ack.producer && queue.sentAs(i) === ack.no,
    );
    if (item) this.#stored(queue, item, ack.epoch, ack.seq, ack.no);
    this.onEpoch(ack.conversation, ack.epoch);
    this.#pump(ack.conversation);
  }

  /** An own event settles its pending even when the ack was lost. */
  onEvent(event: DurableEvent): void {
    this.onEpoch(event.conversation, event.epoch);
    if (event.type !== 'message' || event.from !== this.#deps.user) return;
    const queue = this.#queues.get(event.conversation);
    if (!queue || (!this.#held.has(event.producer) && event.producer !== this.producer)) return;
    const same = queue.items.filter(
      (i) => i.producer === event.producer && sameBody(i.body, event.body),
    );
    const item = same.find((i) => !i.failed && queue.sentAs(i) === event.no);
    if (item) this.#stored(queue, item, event.epoch, event.seq, event.no);
    else {
      // Stored by an earlier attempt, though a later one was refused: it did not fail after all.
      const wrong = same.find((i) => i.failed && i.no === event.no);
      if (wrong) this.#remove(queue, [wrong]);
    }
    this.#pump(event.conversation);
  }

  onPersisted(frame: PersistedFrame): void {
    const queue = this.#queues.get(frame.conversation);
    if (!queue) return;
    this.onEpoch(frame.conversation, frame.epoch);
    const safe = queue.items.filter(
      (i) => i.ack && i.ack.epoch === frame.epoch && i.ack.seq <= frame.seq,
    );
    this.#remove(queue, safe);
  }

  /** A new epoch may have lost what was acked but not persisted: all of it is sent again (R17). */
  onEpoch(conversation: ConversationId, epoch: number): void {
    const queue = this.#queues.get(conversation);
    if (!queue || epoch <= queue.epoch) return;
    const first = queue.epoch === 0;
    queue.epoch = epoch;
    if (first) return;
    for (const item of queue.items)
      if (!item.failed && (item.ack?.epoch ?? 0) < epoch) queue.due.add(item.id);
    this.#pump(conversation);
  }

  #pump(conversation: ConversationId): void {
    const queue = this.#queue(conversation);
    if (!this.#up || queue.paused) return;
    if (queue.flights.size === 0) this.#save(queue.renumber());
    if (queue.renumberFrom.size > 0) return;
    let previous: Pending | null = null;
    for (const item of queue.items) {
      if (item.failed) continue;
      if (!queue.due.has(item.id)) {
        if (queue.flights.has(item.id)) previous = item;
        continue;
      }
      // One producer is pipelined; the next one waits, or its messages could overtake.
      if (previous && previous.producer !== item.producer) return;
      if (queue.flights.size >= WINDOW || this.#inFlight() >= IN_FLIGHT_MAX) return;
      if (!this.#sendOne(queue, item)) return;
      previous = item;
    }
  }

  #sendOne(queue: Queue, item: Pending): boolean {
    const { conversation, producer, no, body } = item;
    const sent = this.#deps.send({ type: 'publish', conversation, producer, no, body });
    if (!sent) return false;
    queue.due.delete(item.id);
    queue.flights.set(item.id, { id: sent.id, no });
    void sent.reply.then((reply) => this.#answered(queue, item, sent.id, no, reply));
    return true;
  }

  #answered(queue: Queue, item: Pending, id: number, no: number, reply: Reply): void {
    if (queue.flights.get(item.id)?.id !== id) return;
    queue.flights.delete(item.id);
    if (reply.ok) return;
    const error = reply.error;
    if (error === null) {
      queue.due.add(item.id);
      this.#pause(queue, item.conversation, null);
    } else if (error.code === 'reused') {
      // Something else is stored under this number: this one takes the next.
      queue.use(item.producer, no);
      queue.due.add(item.id);
      queue.free(item.producer, no);
      const stored = queue.items.filter(
        (i) => i.failed && i.producer === item.producer && i.no === no,
      );
      this.#remove(queue, stored);
    } else if (error.code === 'out_of_order') {
      this.#outOfOrder(queue, item, error.expected ?? no);
    } else if (retryOf(error.code) === 'never') {
      if (!item.ack) this.#fail(queue, item, error.code, error.message);
    } else {
      queue.due.add(item.id);
      if (error.code === 'draining') queue.paused = true;
      else this.#pause(queue, item.conversation, error.retry_after_ms ?? null);
    }
    this.#pump(item.conversation);
  }

  #outOfOrder(queue: Queue, item: Pending, expected: number): void {
    queue.due.add(item.id);
    const later = queue.items.filter(
      (i) => !i.failed && i.producer === item.producer && i.no >= expected,
    );
    for (const other of later) if (!queue.flights.has(other.id)) queue.due.add(other.id);
    const holds = later.some((i) => i.no === expected);
    if (!holds && expected < item.no && queue.renumberFrom.size === 0) {
      // Nothing with that number is left here: the server's count is the truth.
      queue.used.set(item.producer, expected - 1);
      queue.free(item.producer, expected);
    }
    this.#pause(queue, item.conversation, queue.failures === 0 ? 0 : null);
  }

  #fail(queue: Queue, item: Pending, code: string, message: string): void {
    item.failed = { code, message };
    queue.due.delete(item.id);
    queue.free(item.producer, item.no);
    this.#save([item]);
    this.#changed(item.conversation);
  }

  #stored(queue: Queue, item: Pending, epoch: number, seq: number, no: number): void {
    const flight = queue.flights.get(item.id);
    queue.flights.delete(item.id);
    queue.due.delete(item.id);
    queue.failures = 0;
    const before = item.ack;
    // A re-send in a newer epoch that is confirmed counts as of that epoch, else it would be sent for ever.
    item.ack = { epoch: Math.max(epoch, before ? queue.epoch : 0), seq };
    item.no = no;
    queue.use(item.producer, no);
    if (flight) this.#deps.settle(flight.id);
    if (before?.epoch === item.ack.epoch && before.seq === seq) return;
    this.#save([item]);
    this.#changed(item.conversation);
  }

  #pause(queue: Queue, conversation: ConversationId, retryAfter: number | null): void {
    const { clock, random } = this.#deps;
    // A whole window is refused at once when its first one is: that is one failure, not sixteen.
    if (queue.paused && retryAfter === null) return;
    const wait =
      retryAfter ??
      Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(queue.failures, 6)) *
        (0.5 + random() / 2);
    queue.failures += 1;
    clock.cancel(queue.timer);
    queue.paused = true;
    queue.timer = clock.after(wait, () => this.#resume(conversation, queue));
  }

  #resume(conversation: ConversationId, queue: Queue): void {
    queue.paused = false;
    this.#pump(conversation);
  }

  #take(record: Pending): void {
    const queue = this.#queue(record.conversation);
    // What is written from now on comes after what the dead tab wrote, whatever the clock says.
    this.#order = Math.max(this.#order, record.order);
    queue.items.push(record);
    queue.items.sort((a, b) => a.order - b.order);
    if (!record.failed) queue.due.add(record.id);
    if (record.ack) queue.use(record.producer, record.no);
    this.#changed(record.conversation);
    this.#pump(record.conversation);
  }

  #inFlight(): number {
    let sum = 0;
    for (const queue of this.#queues.values()) sum += queue.flights.size;
    return sum;
  }

  #find(id: string): Pending | undefined {
    for (const queue of this.#queues.values()) {
      const item = queue.items.find((i) => i.id === id);
      if (item) return item;
    }
    return undefined;
  }

  #remove(queue: Queue, gone: readonly Pending[]): void {
    if (gone.length === 0) return;
    const ids = new Set(gone.map((item) => item.id));
    queue.items = queue.items.filter((item) => !ids.has(item.id));
    for (const id of ids) queue.due.delete(id);
    for (const id of ids) queue.flights.delete(id);
    this.#later(() => this.#deps.storage.remove([...ids]));
    for (const item of gone.slice(0, 1)) this.#changed(item.conversation);
  }

  #queue(conversation: ConversationId): Queue {
    let queue = this.#queues.get(conversation);
    if (!queue) {
      queue = new Queue();
      this.#queues.set(conversation, queue);
    }
    return queue;
  }

  #changed(conversation: ConversationId): void {
    let unsent = 0;
    for (const { items } of this.#queues.values())
      for (const i of items) if (!i.ack && !i.failed) unsent += 1;
    this.unsent.set(unsent);
    this.#deps.changed(conversation);
  }

  #save(records: readonly Pending[]): void {
    if (records.length === 0) return;
    const copies = records.map((record) => ({ ...record }));
    this.#later(() => this.#deps.storage.put(copies));
  }

  /** Writes in order. A storage that fails (private window, full disk) must not stop the sending. */
  #later(write: () => Promise<void>): void {
    this.#lane = this.#lane.then(write).catch(() => undefined);
  }
}
