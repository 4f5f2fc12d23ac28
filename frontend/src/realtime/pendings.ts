/**
 * Own messages from Enter to "in the store": numbering, sending in order, answers, re-sending, adoption.
 *
 * Owns: every pending of this tab and of the dead tabs it adopted. Never does: draw, or touch a socket directly.
 * Talks to: session (through `Send`), storage, locks. Start reading at: `add`, `#pump`, `#answered`.
 * Source: PROTOCOL.md §4, docs/adr/0006. Safety: a message gets another key (producer, no) only when it is certain that it
 * is not, and never will be, stored under the one it has.
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
const LOCK = (user: string, tab: Producer) => `webchat-producer-${user}-${tab}`;

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
  /** Names this tab; the producer of all its messages until one is refused for good (R14). */
  readonly #tab: Producer;
  readonly #deps: Deps;
  readonly #queues = new Map<ConversationId, Queue>();
  /** Locks of this tab and of those that it adopted. */
  readonly #held = new Map<Producer, () => void>();
  #up = false;
  #order = 0;
  #lane: Promise<unknown> = Promise.resolve();

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#tab = newProducer(deps.random);
  }

  /** Takes this tab's lock and adopts what dead tabs left. Call it at start and after each welcome. */
  async adopt(): Promise<void> {
    const { storage } = this.#deps;
    // Before any write: a record that another tab finds has an owner, or a dead one.
    this.#later(() => this.#hold(this.#tab));
    await this.#lane;
    const records = await storage.all().catch(() => []);
    const tabs = new Set(records.map((record) => record.tab));
    for (const tab of tabs) {
      if (tab === this.#tab || !(await this.#hold(tab))) continue;
      // Read again under the lock: that tab may have sent or dropped some meanwhile.
      const left = (await storage.all().catch(() => [])).filter((r) => r.tab === tab);
      for (const record of left.sort((a, b) => a.order - b.order)) this.#take(record);
    }
  }

  /** False: held already, here or elsewhere. */
  async #hold(tab: Producer): Promise<boolean> {
    if (this.#held.has(tab)) return false;
    const { locks, user } = this.#deps;
    const release = await locks.tryHold(LOCK(user, tab));
    if (release) this.#held.set(tab, release);
    return release !== null;
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

  /** The producer for the next message there and the last number that it used, for `typing`. */
  lastKey(conversation: ConversationId): { producer: Producer; no: number } {
    const queue = this.#queues.get(conversation);
    return { producer: queue?.producer ?? this.#tab, no: queue?.lastNo ?? 0 };
  }

  add(conversation: ConversationId, body: MessageBody): Pending {
    const queue = this.#queue(conversation);
    const { clock, random } = this.#deps;
    this.#order = Math.max(this.#order + 1, clock.now() * 1000);
    queue.lastNo += 1;
    const pending: Pending = {
      id: newProducer(random),
      tab: this.#tab,
      order: this.#order,
      conversation,
      producer: queue.producer,
      no: queue.lastNo,
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
    if (!found.failed.maybe) {
      this.discard(id);
      this.add(found.conversation, found.body);
      return;
    }
    // It may be stored under its key: under that key it is stored once at most. It also keeps its place in the queue, for
    // those that were written after it may wait for its number.
    found.failed = null;
    this.#queue(found.conversation).due.add(id);
    this.#save([found]);
    this.#changed(found.conversation);
    this.#pump(found.conversation);
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
      for (const id of queue.flights.keys()) queue.doubt.add(id);
      queue.flights.clear();
      this.#deps.clock.cancel(queue.timer);
      queue.paused = false;
    }
  }

  onAck(ack: AckFrame): void {
    const queue = this.#queues.get(ack.conversation);
    if (!queue) return;
    const item = queue.items.find((i) => i.producer === ack.producer && i.no === ack.no);
    if (item) {
      const flight = queue.flights.get(item.id);
      queue.flights.delete(item.id);
      // A re-send in a newer epoch that is confirmed counts as of that epoch, else it would be sent for ever.
      this.#stored(queue, item, ack, Math.max(ack.epoch, flight?.epoch ?? 0));
      if (flight) this.#deps.settle(flight.id);
    }
    this.onEpoch(ack.conversation, ack.epoch);
    this.#pump(ack.conversation);
  }

  /** An own event settles its pending even when the ack was lost, or a later attempt was refused. */
  onEvent(event: DurableEvent): void {
    this.onEpoch(event.conversation, event.epoch);
    if (event.type !== 'message' || event.from !== this.#deps.user) return;
    const queue = this.#queues.get(event.conversation);
    const item = queue?.items.find(
      (i) => i.producer === event.producer && i.no === event.no && sameBody(i.body, event.body),
    );
    if (!queue || !item) return;
    this.#stored(queue, item, event, event.epoch);
    this.#pump(event.conversation);
  }

  onPersisted(frame: PersistedFrame): void {
    const queue = this.#queues.get(frame.conversation);
    if (!queue) return;
    this.onEpoch(frame.conversation, frame.epoch);
    const { epoch, seq } = frame;
    const safe = queue.items.filter(
      ({ ack }) => ack && ack.seq <= seq && (ack.epoch === epoch || ack.asOf === epoch),
    );
    this.#remove(queue, safe);
  }

  /** A new epoch may have lost what was acked but not persisted: all of it is sent again (R17). */
  onEpoch(conversation: ConversationId, epoch: number): void {
    const queue = this.#queues.get(conversation);
    if (!queue || epoch <= queue.epoch) return;
    queue.epoch = epoch;
    for (const item of queue.items)
      if (!item.failed && (item.ack?.asOf ?? 0) < epoch) queue.due.add(item.id);
    this.#pump(conversation);
  }

  #pump(conversation: ConversationId): void {
    const queue = this.#queue(conversation);
    if (!this.#up || queue.paused) return;
    if (queue.isLeaving) {
      this.#save(queue.moveOn(() => newProducer(this.#deps.random)));
      if (queue.isLeaving) return;
      this.#changed(conversation);
    }
    let previous: Pending | null = null;
    for (const item of queue.items) {
      if (item.failed) continue;
      const flying = queue.flights.has(item.id);
      if (flying) previous = item;
      if (flying || !queue.due.has(item.id)) continue;
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
    queue.flights.set(item.id, { id: sent.id, epoch: queue.epoch, after: queue.acked(producer) });
    void sent.reply.then((reply) => this.#answered(queue, item, sent.id, reply));
    return true;
  }

  #answered(queue: Queue, item: Pending, id: number, reply: Reply): void {
    const flight = queue.flights.get(item.id);
    if (flight?.id !== id) return;
    queue.flights.delete(item.id);
    if (reply.ok) return;
    const { error } = reply;
    const retry = error ? retryOf(error.code) : 'unknown';
    if (retry === 'unknown') queue.doubt.add(item.id);
    if (error?.code === 'reused') {
      queue.taken(item);
    } else if (error?.code === 'out_of_order') {
      const refused = queue.gap(item, error.expected ?? item.no, flight);
      if (refused) this.#refused(queue, item, refused.code, refused.message);
      else this.#pause(queue, item.conversation, queue.failures === 0 ? 0 : null);
    } else if (error && retry === 'never') {
      this.#refused(queue, item, error.code, error.message);
    } else {
      queue.due.add(item.id);
      if (error?.code === 'draining') queue.paused = true;
      else this.#pause(queue, item.conversation, error?.retry_after_ms ?? null);
    }
    this.#pump(item.conversation);
  }

  /** A final refusal (R14). */
  #refused(queue: Queue, item: Pending, code: string, message: string): void {
    queue.due.delete(item.id);
    if (item.ack) {
      // It is stored. Nobody tells one who may not write there any more when it is safe.
      this.#remove(queue, [item]);
      return;
    }
    const maybe = queue.doubt.has(item.id);
    item.failed = { code, message, maybe };
    queue.leave(item.producer, item.no + 1, !maybe);
    this.#save([item]);
    this.#changed(item.conversation);
  }

  #stored(queue: Queue, item: Pending, at: { epoch: number; seq: number }, asOf: number): void {
    if (!queue.stored(item, at.epoch, at.seq, asOf)) return;
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
    // Its tab may have sent it, and nobody knows what became of that.
    if (!record.ack) queue.doubt.add(record.id);
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
    for (const id of ids) for (const set of [queue.due, queue.doubt, queue.flights]) set.delete(id);
    this.#later(() => this.#deps.storage.remove([...ids]));
    for (const item of gone.slice(0, 1)) this.#changed(item.conversation);
  }

  #queue(conversation: ConversationId): Queue {
    let queue = this.#queues.get(conversation);
    if (!queue) {
      queue = new Queue(this.#tab);
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
  #later(write: () => Promise<unknown>): void {
    this.#lane = this.#lane.then(write).catch(() => undefined);
  }
}
