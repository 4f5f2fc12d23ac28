/**
 * Who types where, and telling others that this user does.
 *
 * Owns: one store per conversation, the expiry, the send throttle. Never does: persist. Talks to: clock.
 * Start reading at: `apply`, `typed`. Source: PROTOCOL.md R30.
 */
import type { Clock, Timer } from './ports';
import { Cell, type Store } from './store';
import type { ConversationId, MessageEvent, TypingFrame, UserId } from './wire';

export const TYPING_TTL_MS = 6_000;
export const TYPING_EVERY_MS = 3_000;
const KEYS_MAX = 2_000;

type Typist = { user: UserId; producer: string; no: number; timer: Timer };

export class Typing {
  readonly #clock: Clock;
  readonly #me: UserId;
  readonly #cells = new Map<ConversationId, Cell<readonly UserId[]>>();
  readonly #typists = new Map<ConversationId, Map<UserId, Typist>>();
  /** Last message per conversation and producer: a typing that comes after its message is dropped. */
  readonly #messages = new Map<string, number>();
  readonly #sentAt = new Map<ConversationId, number>();

  constructor(clock: Clock, me: UserId) {
    this.#clock = clock;
    this.#me = me;
  }

  in(conversation: ConversationId): Store<readonly UserId[]> {
    return this.#cell(conversation);
  }

  apply({ conversation, user, producer, no }: TypingFrame): void {
    if (user === this.#me) return;
    if ((this.#messages.get(`${conversation}:${producer}`) ?? 0) > no) return;
    const typists = this.#typists.get(conversation) ?? new Map<UserId, Typist>();
    this.#typists.set(conversation, typists);
    this.#clock.cancel(typists.get(user)?.timer);
    const timer = this.#clock.after(TYPING_TTL_MS, () => this.#end(conversation, user));
    typists.set(user, { user, producer, no, timer });
    this.#show(conversation);
  }

  /** The message that was typed has come. */
  onMessage({ conversation, from, producer, no }: MessageEvent): void {
    const key = `${conversation}:${producer}`;
    this.#messages.delete(key);
    this.#messages.set(key, no);
    if (this.#messages.size > KEYS_MAX) {
      for (const oldest of this.#messages.keys()) {
        this.#messages.delete(oldest);
        break;
      }
    }
    const typist = this.#typists.get(conversation)?.get(from);
    if (typist && typist.producer === producer && no > typist.no) this.#end(conversation, from);
    if (from === this.#me) this.#sentAt.delete(conversation);
  }

  /** Whether a signal is due at this keystroke. */
  typed(conversation: ConversationId): boolean {
    const now = this.#clock.now();
    if (now - (this.#sentAt.get(conversation) ?? Number.NEGATIVE_INFINITY) < TYPING_EVERY_MS)
      return false;
    this.#sentAt.set(conversation, now);
    return true;
  }

  down(): void {
    for (const [conversation, typists] of this.#typists) {
      for (const user of [...typists.keys()]) this.#end(conversation, user);
    }
  }

  #end(conversation: ConversationId, user: UserId): void {
    const typists = this.#typists.get(conversation);
    this.#clock.cancel(typists?.get(user)?.timer);
    typists?.delete(user);
    this.#show(conversation);
  }

  #show(conversation: ConversationId): void {
    const users = [...(this.#typists.get(conversation)?.keys() ?? [])];
    const cell = this.#cell(conversation);
    if (users.join() !== cell.get().join()) cell.set(users);
  }

  #cell(conversation: ConversationId): Cell<readonly UserId[]> {
    const cell = this.#cells.get(conversation) ?? new Cell<readonly UserId[]>([]);
    this.#cells.set(conversation, cell);
    return cell;
  }
}
