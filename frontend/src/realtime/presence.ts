/**
 * Who of the watched people is reachable.
 *
 * Owns: one store per person. Never does: guess; without a connection everything is stale.
 * Talks to: watch. Start reading at: `of`. Source: PROTOCOL.md R32.
 */
import type { PresenceView } from './facade';
import { Cell, type Store } from './store';
import type { PresenceEntry, UserId } from './wire';

const UNKNOWN: PresenceView = { state: 'unknown', since: null, stale: true };

export class Presence {
  readonly #people = new Map<UserId, Cell<PresenceView>>();
  readonly #watch: (user: UserId, used: boolean) => void;

  constructor(watch: (user: UserId, used: boolean) => void) {
    this.#watch = watch;
  }

  of(user: UserId): Store<PresenceView> {
    let cell = this.#people.get(user);
    if (!cell) {
      cell = new Cell<PresenceView>(UNKNOWN, (used) => this.#watch(user, used));
      this.#people.set(user, cell);
    }
    return cell;
  }

  apply(people: readonly PresenceEntry[]): void {
    for (const { user, online, since } of people) {
      const state = online ? 'online' : 'offline';
      this.#people.get(user)?.set({ state, since: since ?? null, stale: false });
    }
  }

  /** Nothing is told about them any more: what is known grows old. */
  unwatched(users: Iterable<UserId>): void {
    for (const user of users) {
      const cell = this.#people.get(user);
      if (cell && !cell.get().stale) cell.set({ ...cell.get(), stale: true });
    }
  }

  down(): void {
    this.unwatched(this.#people.keys());
  }
}
