/**
 * Error and close codes of `webchat.v1`, and what the client does about each.
 *
 * Owns: the two tables. Never does: act on them. Talks to: nobody. Start reading at: `retryOf`, `reconnectOf`.
 * Source: PROTOCOL.md §7 and §8; the fixtures hold both sides together.
 */

/** `never`: the answer stays the same. `later`: not stored by this attempt. `unknown`: nobody knows, send it again. */
export type Retry = 'never' | 'later' | 'unknown';

const ERRORS = {
  invalid: 'never',
  not_expected: 'never',
  forbidden: 'never',
  unknown_conversation: 'never',
  too_large: 'never',
  unauthorized: 'never',
  reused: 'never',
  out_of_order: 'later',
  rate_limited: 'later',
  too_many_unacked: 'later',
  overloaded: 'later',
  unavailable: 'later',
  draining: 'later',
  unknown: 'unknown',
} as const satisfies Record<string, Retry>;

export type ErrorCode = keyof typeof ERRORS;

/** What to do with the refused command. A code of a later server counts as `later`: keeping a pending loses nothing. */
export function retryOf(code: string): Retry {
  return Object.hasOwn(ERRORS, code) ? ERRORS[code as ErrorCode] : 'later';
}

export type Reconnect = 'now' | 'backoff' | 'after_refresh' | 'never';

const CLOSES: Readonly<Record<number, Reconnect>> = {
  1000: 'never',
  1002: 'backoff',
  1003: 'never',
  1007: 'never',
  1009: 'never',
  1011: 'backoff',
  1012: 'now',
  1013: 'backoff',
  4400: 'never',
  4401: 'after_refresh',
  4403: 'never',
  4405: 'backoff',
  4406: 'now',
  4408: 'backoff',
  4429: 'backoff',
};

/** What to do after a close. Unknown codes and a missing close frame (1006) mean backoff (R42). */
export function reconnectOf(code: number): Reconnect {
  return CLOSES[code] ?? 'backoff';
}

export const ERROR_CODES = Object.keys(ERRORS) as readonly ErrorCode[];
export const CLOSE_CODES: readonly number[] = Object.keys(CLOSES).map(Number);
