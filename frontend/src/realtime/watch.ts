/**
 * What is on screen: the people and conversations whose signals this connection wants.
 *
 * Owns: both lists, counted by use. Never does: know why. Talks to: session (through `send`).
 * Start reading at: `use`. Limits: 200 each; the latest ones win. Source: PROTOCOL.md §3.
 */
import type { Clock, Timer } from './ports';
import type { Command } from './wire';

export const WATCH_MAX = 200;
const DEBOUNCE_MS = 150;

export class Watch {
  readonly #clock: Clock;
  readonly #send: (command: Command) => boolean;
  readonly #unwatched: (people: readonly string[]) => void;
  readonly #used = { people: new Map<string, number>(), conversations: new Map<string, number>() };
  #timer: Timer = null;
  #sent = '';
  #people: readonly string[] = [];

  /** `unwatched`: hears of people who left the list that the server has. */
  constructor(
    clock: Clock,
    send: (command: Command) => boolean,
    unwatched: (people: readonly string[]) => void = () => undefined,
  ) {
    this.#clock = clock;
    this.#send = send;
    this.#unwatched = unwatched;
  }

  use(list: 'people' | 'conversations', id: string, used: boolean): void {
    const counts = this.#used[list];
    const count = (counts.get(id) ?? 0) + (used ? 1 : -1);
    counts.delete(id);
    if (count > 0) counts.set(id, count);
    this.#timer ??= this.#clock.after(DEBOUNCE_MS, () => this.#flush());
  }

  /** After each welcome: a new connection knows nothing. */
  up(): void {
    this.#sent = '';
    this.#flush();
  }

  #flush(): void {
    this.#clock.cancel(this.#timer);
    this.#timer = null;
    const newest = (counts: Map<string, number>) => [...counts.keys()].slice(-WATCH_MAX);
    const people = newest(this.#used.people);
    const conversations = newest(this.#used.conversations);
    const key = JSON.stringify([people.toSorted(), conversations.toSorted()]);
    if (key === this.#sent || (this.#sent === '' && people.length + conversations.length === 0))
      return;
    if (!this.#send({ type: 'watch', people, conversations })) return;
    this.#sent = key;
    const watched = new Set(people);
    this.#unwatched(this.#people.filter((user) => !watched.has(user)));
    this.#people = people;
  }
}
