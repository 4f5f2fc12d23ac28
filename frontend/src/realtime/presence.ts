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
      const made: Cell<PresenceView> = new Cell<PresenceView>(UNKNOWN, (used) => {
        // Unwatched people are not told about any more: what is known grows old.
        if (!used) made.set({ ...made.get(), stale: true });
        this.#watch(user, used);
      });
      this.#people.set(user, made);
      cell = made;
    }
    return cell;
  }

  apply(people: readonly PresenceEntry[]): void {
    for (const { user, online, since } of people) {
      const state = online ? 'online' : 'offline';
      this.#people.get(user)?.set({ state, since: since ?? null, stale: false });
    }
  }

  down(): void {
    for (const cell of this.#people.values()) {
      if (!cell.get().stale) cell.set({ ...cell.get(), stale: true });
    }
  }
}
