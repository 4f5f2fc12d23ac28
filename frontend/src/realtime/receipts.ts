/**
 * Cursors of delivery and reading: one's own on their way out, the others' on their way in.
 *
 * Owns: both, merged by the larger. Never does: go backwards, or show some for all. Talks to: clock, session (through `send`).
 * Start reading at: `move`, `apply`. Source: PROTOCOL.md R31. Limits: 10 per second, 1 per second and conversation.
 */
import type { ReceiptCursor, ReceiptsView } from './facade';
import type { Clock, Timer } from './ports';
import { Cell, type Store } from './store';
import type { Command, ConversationId, ReceiptFrame, UserId } from './wire';

const EVERY_MS = 1_000;
const PER_FLUSH = 10;
const NOTHING: ReceiptCursor = { delivered: 0, read: 0 };
const NOBODY: ReceiptsView = new Map();

function larger(a: ReceiptCursor, b: Partial<ReceiptCursor>): ReceiptCursor {
  const delivered = Math.max(a.delivered, b.delivered ?? 0);
  const read = Math.max(a.read, b.read ?? 0);
  return delivered === a.delivered && read === a.read ? a : { delivered, read };
}

export class Receipts {
  readonly #clock: Clock;
  readonly #me: UserId;
  readonly #send: (command: Command) => boolean;
  /** The others as shown: all who give receipts there, or nobody. */
  readonly #others = new Map<ConversationId, Cell<ReceiptsView>>();
  /** The others as far as heard. */
  readonly #heard = new Map<ConversationId, ReceiptsView>();
  /** Whether the api names people there, as it does up to 32 members; nothing: it has not answered yet. */
  readonly #named = new Map<ConversationId, boolean>();
  readonly #own = new Map<ConversationId, ReceiptCursor>();
  /** What the server is known to have. */
  readonly #known = new Map<ConversationId, ReceiptCursor>();
  readonly #due = new Set<ConversationId>();
  #timer: Timer = null;

  constructor(clock: Clock, me: UserId, send: (command: Command) => boolean) {
    this.#clock = clock;
    this.#me = me;
    this.#send = send;
  }

  in(conversation: ConversationId): Store<ReceiptsView> {
    return this.#cell(conversation);
  }

  own(conversation: ConversationId): ReceiptCursor {
    return this.#own.get(conversation) ?? NOTHING;
  }

  /** Moves an own cursor. The first one leaves at once, the next ones at most once a second. */
  move(conversation: ConversationId, to: Partial<ReceiptCursor>): void {
    const before = this.own(conversation);
    const after = larger(before, to);
    if (after === before) return;
    this.#own.set(conversation, after);
    this.#due.add(conversation);
    if (this.#timer === null) this.#flush();
  }

  /** Own cursors as the api knows them. */
  known(conversation: ConversationId, cursor: ReceiptCursor): void {
    this.#known.set(conversation, larger(this.#known.get(conversation) ?? NOTHING, cursor));
    this.#own.set(conversation, larger(this.own(conversation), cursor));
  }

  /** A receipt came. Returns true when it moved an own cursor (another device read). */
  apply(frame: ReceiptFrame): boolean {
    const { conversation, user, ...cursor } = frame;
    if (user === this.#me) {
      const before = this.own(conversation);
      this.known(conversation, larger(NOTHING, cursor));
      return this.own(conversation) !== before;
    }
    // Those few of a large group whom one hears are not "everybody".
    if (this.#named.get(conversation) === false) return false;
    const heard = this.#heard.get(conversation) ?? NOBODY;
    const old = heard.get(user) ?? NOTHING;
    const next = larger(old, cursor);
    if (next === old) return false;
    this.#heard.set(conversation, new Map(heard).set(user, next));
    this.#show(conversation);
    return false;
  }

  /** Whether the api has said who gives receipts there. */
  isKnown(conversation: ConversationId): boolean {
    return this.#named.has(conversation);
  }

  /** Everybody who gives receipts there, as the api has it; what was heard and is ahead stays. Null: it only counts. */
  fetched(
    conversation: ConversationId,
    rows: readonly (ReceiptCursor & { user: UserId })[] | null,
  ): void {
    const heard = this.#heard.get(conversation) ?? NOBODY;
    const others = (rows ?? []).filter(({ user }) => user !== this.#me);
    const next = others.map(
      ({ user, delivered, read }) =>
        [user, larger(heard.get(user) ?? NOTHING, { delivered, read })] as const,
    );
    this.#named.set(conversation, rows !== null);
    this.#heard.set(conversation, new Map(next));
    this.#show(conversation);
  }

  /** After each welcome: cursors that the server may not have are sent again. */
  up(): void {
    for (const [conversation, cursor] of this.#own) {
      const known = this.#known.get(conversation) ?? NOTHING;
      if (larger(known, cursor) !== known) this.#due.add(conversation);
    }
    if (this.#timer === null) this.#flush();
  }

  #flush(): void {
    this.#timer = null;
    if (this.#due.size === 0) return;
    for (const conversation of [...this.#due].slice(-PER_FLUSH)) {
      const { delivered, read } = this.own(conversation);
      const command: Command = { type: 'receipt', conversation };
      if (delivered > 0) command.delivered = delivered;
      if (read > 0) command.read = read;
      // Not connected: `up` finds it again.
      if (!this.#send(command)) {
        this.#due.clear();
        return;
      }
      this.#due.delete(conversation);
    }
    this.#timer = this.#clock.after(EVERY_MS, () => this.#flush());
  }

  #show(conversation: ConversationId): void {
    const heard = this.#named.get(conversation) ? this.#heard.get(conversation) : undefined;
    this.#cell(conversation).set(heard ?? NOBODY);
  }

  #cell(conversation: ConversationId): Cell<ReceiptsView> {
    const cell = this.#others.get(conversation) ?? new Cell<ReceiptsView>(NOBODY);
    this.#others.set(conversation, cell);
    return cell;
  }
}
