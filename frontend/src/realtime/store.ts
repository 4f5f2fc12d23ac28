/**
 * A value that tells when it changes: what `useSyncExternalStore` and plain code read alike.
 *
 * Owns: one value and its listeners. Never does: change the value in place. Talks to: nobody. Start reading at: `Store`.
 */
export interface Store<T> {
  /** The value now; the same reference until it changes. */
  get(): T;
  /** Calls back after each change. Returns the function that stops it. */
  subscribe(listener: () => void): () => void;
}

export class Cell<T> implements Store<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();
  /** Called with true at the first listener and with false after the last one. */
  readonly #onUse: ((used: boolean) => void) | undefined;

  constructor(value: T, onUse?: (used: boolean) => void) {
    this.#value = value;
    this.#onUse = onUse;
  }

  get = (): T => this.#value;

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  subscribe = (listener: () => void): (() => void) => {
    // A wrapper of its own, so that one function subscribed twice counts twice.
    const entry = () => listener();
    this.#listeners.add(entry);
    if (this.#listeners.size === 1) this.#onUse?.(true);
    return () => {
      if (this.#listeners.delete(entry) && this.#listeners.size === 0) this.#onUse?.(false);
    };
  };
}
