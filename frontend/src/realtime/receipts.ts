/**
 * Cursors of delivery and reading: one's own on their way out, the others' on their way in.
 *
 * Owns: both, merged by the larger. Never does: go backwards. Talks to: clock, session (through `send`).
 * Start reading at: `move`, `apply`. Source: PROTOCOL.md R31. Limits: 10 per second, 1 per second and conversation.
 */
import type { ReceiptCursor, ReceiptsView } from './facade';
import type { Clock, Timer } from './ports';
import { Cell, type Store } from './store';
import type { Command, ConversationId, ReceiptFrame, UserId } from './wire';

const EVERY_MS = 1_000;
const PER_FLUSH = 10;
const NOTHING: ReceiptCursor = { delivered: 0, read: 0 };

function larger(a: ReceiptCursor, b: Partial<ReceiptCursor>): ReceiptCursor {
  const delivered = Math.max(a.delivered, b.delivered ?? 0);
  const read = Math.max(a.read, b.read ?? 0);
  return delivered === a.delivered && read === a.read ? a : { delivered, read };
}

export class Receipts {
  readonly #clock: Clock;
  readonly #me: UserId;
  readonly #send: (command: Command) => boolean;
  readonly #others = new Map<ConversationId, Cell<ReceiptsView>>();
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
    const cell = this.#cell(conversation);
    const old = cell.get().get(user) ?? NOTHING;
    const next = larger(old, cursor);
    if (next !== old) cell.set(new Map(cell.get()).set(user, next));
    return false;
  }

  /** What the api knows of the others; live ones that are ahead stay. */
  fetched(conversation: ConversationId, rows: readonly (ReceiptCursor & { user: UserId })[]): void {
    const cell = this.#cell(conversation);
    const next = new Map(cell.get());
    for (const { user, delivered, read } of rows) {
      if (user !== this.#me) next.set(user, larger(next.get(user) ?? NOTHING, { delivered, read }));
    }
    cell.set(next);
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

  #cell(conversation: ConversationId): Cell<ReceiptsView> {
    const cell = this.#others.get(conversation) ?? new Cell<ReceiptsView>(new Map());
    this.#others.set(conversation, cell);
    return cell;
  }
}
