/**
 * The facade: ties session, pendings, timelines and the small stores together.
 *
 * Owns: the wiring and the timelines that are open. Never does: rules of its own. Talks to: all of realtime/.
 * Start reading at: `createClient`, `#frame`.
 */
import type { Conversation, MinePatch, ReceiptsReply } from '../api/types';
import { Conversations } from './conversations';
import { Counts } from './counts';
import type { ChatClient, PublishOutcome } from './facade';
import { Pendings } from './pendings';
import type { Ports } from './ports';
import { Presence } from './presence';
import { Receipts } from './receipts';
import { Session } from './session';
import { refusalOf } from './text';
import { Timeline } from './timeline';
import { Typing } from './typing';
import { Watch } from './watch';
import type {
  ConversationId,
  DurableEvent,
  Frame,
  MessageBody,
  UserChange,
  UserId,
  WelcomeFrame,
} from './wire';

/** Timelines kept up in the background; the least recently opened one without listeners falls out. */
const TIMELINES_MAX = 20;
const ALL_CHANGES: readonly UserChange[] = [
  'profile',
  'conversations',
  'blocked',
  'settings',
  'sessions',
];

/** `token`: a socket token, for clients without cookies. */
export function createClient(ports: Ports, me: UserId, token: string | null = null): ChatClient {
  return new Client(ports, me, token);
}

type Open = { timeline: Timeline; used: boolean; unlisten(): void };

class Client implements ChatClient {
  readonly me: UserId;
  readonly #ports: Ports;
  readonly #token: string | null;
  readonly #session: Session;
  readonly #pendings: Pendings;
  readonly #list: Conversations;
  readonly #watch: Watch;
  readonly #presence: Presence;
  readonly #typing: Typing;
  readonly #receipts: Receipts;
  readonly #counts: Counts;
  readonly #open = new Map<ConversationId, Open>();
  readonly #onEvent = new Set<(event: DurableEvent) => void>();
  readonly #onChanged = new Set<(what: UserChange) => void>();
  /** Receipts being fetched, and whether they are to be fetched once more. */
  readonly #asking = new Map<ConversationId, boolean>();
  /** Highest seq told to `onEvent` listeners, per conversation: replays are told once. */
  readonly #told = new Map<ConversationId, number>();

  constructor(ports: Ports, me: UserId, token: string | null) {
    const { clock, random, storage, locks, backend } = ports;
    this.me = me;
    this.#ports = ports;
    this.#token = token;
    this.#session = new Session(ports, {
      onWelcome: (welcome) => this.#up(welcome),
      onFrame: (frame) => this.#frame(frame),
      onDown: () => this.#down(),
    });
    const session = this.#session;
    this.#pendings = new Pendings({
      user: me,
      clock,
      random: () => random(),
      storage,
      locks,
      send: (command) => (session.connected ? session.request(command) : null),
      settle: (id) => session.settle(id, { ok: true }),
      changed: (conversation) => this.#open.get(conversation)?.timeline.redraw(),
    });
    this.#watch = new Watch(
      clock,
      (command) => session.send(command),
      (people) => this.#presence.unwatched(people),
    );
    this.#presence = new Presence((user, used) => this.#watch.use('people', user, used));
    this.#typing = new Typing(clock, me);
    this.#receipts = new Receipts(clock, me, (command) => session.send(command));
    this.#counts = new Counts({
      clock,
      random: () => random(),
      surroundings: ports.surroundings,
      connected: () => session.connected,
      ask: (id, seqs, signal) => backend.receipts(id, seqs, signal),
      named: (id, reply) => this.#waitedFor(id, reply),
    });
    this.#list = new Conversations(backend, me, (conversation) => this.#fetched(conversation));
  }

  get connection() {
    return this.#session.state;
  }
  get conversations() {
    return this.#list.state;
  }
  get unread() {
    return this.#list.unread;
  }
  get unsent() {
    return this.#pendings.unsent;
  }

  start(): void {
    void this.#pendings.adopt();
    this.#session.start(this.#token);
  }

  async stop(): Promise<void> {
    this.#session.stop();
    this.#counts.leave();
    for (const open of this.#open.values()) open.timeline.close();
    await this.#pendings.close();
  }

  async forget(): Promise<void> {
    this.#session.stop();
    await this.#pendings.forget();
    await this.stop();
  }

  reconnect(): void {
    this.#session.reconnect();
  }

  timeline(conversation: ConversationId): Timeline {
    const found = this.#open.get(conversation);
    if (found) return found.timeline;
    const { clock, random, backend } = this.#ports;
    const receipts = this.#receipts.in(conversation);
    const counts = this.#counts.in(conversation);
    const timeline = new Timeline(conversation, {
      clock,
      random: () => random(),
      backend,
      own: () => ({
        me: this.me,
        pendings: this.#pendings.list(conversation),
        receipts: receipts.get(),
        counts: counts.get(),
      }),
      fetched: (seq) => this.#receipts.move(conversation, { delivered: seq }),
      onUse: (used) => this.#used(conversation, used),
    });
    const stops = [receipts, counts].map((one) => one.subscribe(() => timeline.redraw()));
    const unlisten = () => {
      for (const stop of stops) stop();
    };
    this.#open.set(conversation, { timeline, used: false, unlisten });
    return timeline;
  }

  presence(user: UserId) {
    return this.#presence.of(user);
  }
  typing(conversation: ConversationId) {
    return this.#typing.in(conversation);
  }
  receipts(conversation: ConversationId) {
    return this.#receipts.in(conversation);
  }
  counts(conversation: ConversationId) {
    return this.#counts.in(conversation);
  }
  lookAt(conversation: ConversationId, seqs: readonly number[]): void {
    this.#counts.look(conversation, seqs);
  }

  publish(conversation: ConversationId, body: MessageBody): PublishOutcome {
    const reason = refusalOf(body);
    if (reason) return { ok: false, reason };
    return { ok: true, id: this.#pendings.add(conversation, body).id };
  }
  retry(id: string): void {
    this.#pendings.retry(id);
  }
  discard(id: string): void {
    this.#pendings.discard(id);
  }

  typed(conversation: ConversationId): void {
    if (!this.#session.connected || !this.#typing.typed(conversation)) return;
    this.#session.send({ type: 'typing', conversation, ...this.#pendings.lastKey(conversation) });
  }

  markRead(conversation: ConversationId, seq: number): void {
    this.#receipts.move(conversation, { delivered: seq, read: seq });
    const left = this.#open.get(conversation)?.timeline.unreadAbove(seq) ?? null;
    this.#list.read(conversation, seq, left);
  }

  patchMine(conversation: ConversationId, patch: MinePatch): Promise<void> {
    return this.#list.patch(conversation, patch);
  }
  adopt(conversation: Conversation): void {
    const held = this.#list.get(conversation.id);
    if (!held || held.head.seq <= conversation.head.seq) this.#list.put(conversation);
  }
  refreshConversations(): Promise<void> {
    return this.#list.refresh();
  }

  onEvent(listener: (event: DurableEvent) => void): () => void {
    this.#onEvent.add(listener);
    return () => this.#onEvent.delete(listener);
  }
  onUserChanged(listener: (what: UserChange) => void): () => void {
    this.#onChanged.add(listener);
    return () => this.#onChanged.delete(listener);
  }

  #up(welcome: WelcomeFrame): void {
    this.#pendings.up();
    void this.#pendings.adopt();
    this.#watch.up();
    for (const [conversation, open] of this.#open) {
      open.timeline.up(welcome.resume === 'resumed');
      if (open.used) this.#fetchReceipts(conversation);
    }
    // The list is read after each welcome: heads for R28, and what other devices changed (R33).
    void this.#list.refresh().then(() => this.#receipts.up());
    for (const what of ALL_CHANGES) this.#changed(what);
  }

  #down(): void {
    this.#pendings.down();
    this.#presence.down();
    this.#typing.down();
  }

  #frame(frame: Frame): void {
    switch (frame.type) {
      case 'created':
      case 'message':
      case 'edit':
      case 'delete':
      case 'reaction':
      case 'member':
      case 'settings':
        this.#pendings.onEvent(frame);
        if (frame.type === 'message') this.#typing.onMessage(frame);
        this.#open.get(frame.conversation)?.timeline.receive(frame);
        this.#list.receive(frame);
        this.#tell(frame);
        return;
      case 'hole':
        this.#open.get(frame.conversation)?.timeline.receive(frame);
        this.#list.receive(frame);
        return;
      case 'ack':
        this.#pendings.onAck(frame);
        return;
      case 'persisted':
        this.#pendings.onPersisted(frame);
        return;
      case 'presence':
        this.#presence.apply(frame.people);
        return;
      case 'typing':
        this.#typing.apply(frame);
        return;
      case 'receipt':
        if (!this.#receipts.isKnown(frame.conversation))
          this.#receiptsChanged((id) => id === frame.conversation);
        if (this.#receipts.apply(frame)) {
          this.#list.read(frame.conversation, this.#receipts.own(frame.conversation).read, null);
        }
        return;
      case 'user_changed':
        if (frame.what === 'conversations' || frame.what === 'blocked') void this.#list.refresh();
        if (frame.what === 'blocked') this.#renew();
        // Who gives no receipts sees none.
        if (frame.what === 'settings') this.#receiptsChanged(() => true);
        this.#changed(frame.what);
        return;
      default:
        return;
    }
  }

  #tell(event: DurableEvent): void {
    if (event.seq <= (this.#told.get(event.conversation) ?? 0)) return;
    this.#told.set(event.conversation, event.seq);
    // A message to anybody arrives on this device: that is its delivery.
    if (event.type === 'message' && event.from !== this.me) {
      this.#receipts.move(event.conversation, { delivered: event.seq });
    }
    if (event.type === 'member') this.#receiptsChanged((id) => id === event.conversation);
    for (const listener of [...this.#onEvent]) listener(event);
  }

  /** Messages appear or disappear in all conversations. */
  #renew(): void {
    for (const [id, open] of this.#open) {
      if (open.used) open.timeline.renew();
      else this.#close(id, open);
    }
  }

  /** Others have to be waited for, or not any more. */
  #receiptsChanged(where: (conversation: ConversationId) => boolean): void {
    for (const [id, open] of this.#open) if (open.used && where(id)) this.#fetchReceipts(id);
  }

  #changed(what: UserChange): void {
    for (const listener of [...this.#onChanged]) listener(what);
  }

  #fetched(conversation: Conversation): void {
    const { id, delivered, read, unread, head } = conversation;
    this.#receipts.known(id, { delivered, read });
    if (unread > 0) this.#receipts.move(id, { delivered: head.seq });
    const open = this.#open.get(id)?.timeline;
    const position = open?.position;
    const behind = position && (position.epoch < head.epoch || position.seq < head.seq);
    if (behind && this.#session.connected) open.up(false);
  }

  #used(conversation: ConversationId, used: boolean): void {
    this.#watch.use('conversations', conversation, used);
    const open = this.#open.get(conversation);
    if (!open) return;
    open.used = used;
    if (!used) {
      this.#evict();
      return;
    }
    this.#open.delete(conversation);
    this.#open.set(conversation, open);
    this.#fetchReceipts(conversation);
  }

  #fetchReceipts(conversation: ConversationId): void {
    const running = this.#asking.has(conversation);
    this.#asking.set(conversation, running);
    if (running) return;
    this.#ports.backend
      .receipts(conversation)
      .then((reply) => this.#waitedFor(conversation, reply))
      // Ticks stay as they are; the next receipt there, or welcome, asks again.
      .catch(() => undefined)
      .finally(() => {
        const again = this.#asking.get(conversation);
        this.#asking.delete(conversation);
        if (again) this.#fetchReceipts(conversation);
      });
  }

  /** Who is to be waited for there, by name or only by number. */
  #waitedFor(conversation: ConversationId, reply: ReceiptsReply): void {
    const named = 'receipts' in reply;
    this.#receipts.fetched(conversation, named ? reply.receipts : null);
    this.#counts.known(conversation, !named);
  }

  #evict(): void {
    for (const [conversation, open] of this.#open) {
      if (this.#open.size <= TIMELINES_MAX) return;
      if (!open.used) this.#close(conversation, open);
    }
  }

  #close(conversation: ConversationId, open: Open): void {
    open.unlisten();
    open.timeline.close();
    this.#counts.forget(conversation);
    this.#open.delete(conversation);
  }
}
