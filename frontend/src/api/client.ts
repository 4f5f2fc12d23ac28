/**
 * Requests to the HTTP api: headers, errors, and one shared refresh when the access token has expired.
 *
 * Owns: the refresh in flight. Never does: cache, hold tokens beyond the last reply. Talks to: fetch, Web Locks.
 * Start reading at: `Api.request`. Source: HTTP contract, DESIGN.md §6.
 */
import { ApiError, type ProblemCode, problemOf } from './problem';
import type { AuthReply } from './types';

type Query = Readonly<Record<string, string | number | undefined>>;
export type RequestOptions = {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal | undefined;
  idempotencyKey?: string;
  /** Goes on when the page is left meanwhile. For small bodies: a browser allows 64 KiB at a time. */
  keepalive?: boolean;
};
type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Runs one function at a time among everybody who uses the name, in all tabs. */
export type Exclusive = <T>(name: string, run: () => Promise<T>) => Promise<T>;

/** Carries a fresh reply to the other tabs, so that those that wait for the lock need not refresh again. */
export interface Shared {
  tell(reply: AuthReply): void;
  onHeard(listener: (reply: AuthReply) => void): void;
}

export type ApiPorts = {
  /** Empty in a browser: the page's own origin. */
  base?: string;
  fetch?: typeof fetch;
  exclusive?: Exclusive;
  shared?: Shared | null;
  /** How long to wait for an answer. */
  deadlineMs?: number;
  /** Extra headers, e.g. `Authorization` for bots. */
  headers?: Readonly<Record<string, string>>;
};

/** `denied`: log in again. `unreachable`: try later. */
export type Refreshed =
  | { ok: true; reply: AuthReply }
  | { ok: false; why: 'denied' | 'unreachable' };

/** Where a 401 is about what was sent, not about the session. */
const ENTRY = new Set(['/api/auth/login', '/api/auth/register', '/api/auth/refresh']);
const REFRESH_LOCK = 'webchat-refresh';
/** The server answers within 20 s, if only to say that it cannot: after that nobody is there. */
const DEADLINE_MS = 30_000;

/** Never leaves the browser, and is not stored: the reply holds a socket token. */
export function browserShared(): Shared | null {
  if (typeof document === 'undefined' || typeof BroadcastChannel === 'undefined') return null;
  const channel = new BroadcastChannel('webchat-auth');
  return {
    tell: (reply) => channel.postMessage(reply),
    onHeard: (listener) =>
      channel.addEventListener('message', (message) => listener(message.data as AuthReply)),
  };
}

const alone: Exclusive = (_name, run) => run();

/** Web Locks, where there are any: two tabs that wake up together refresh one after the other. */
export function browserExclusive(): Exclusive {
  const locks = globalThis.navigator?.locks;
  if (!locks) return alone;
  return async (name, run) => await locks.request(name, run);
}

export class Api {
  readonly #base: string;
  readonly #fetch: typeof fetch;
  readonly #exclusive: Exclusive;
  readonly #deadlineMs: number;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #onDenied = new Set<(why: ProblemCode) => void>();
  readonly #shared: Shared | null;
  #refreshing: Promise<Refreshed> | null = null;
  /** The reply that another tab got while this one waited for the lock. */
  #heard: AuthReply | null = null;

  constructor(ports: ApiPorts = {}) {
    this.#base = ports.base ?? '';
    this.#fetch = ports.fetch ?? ((...args) => globalThis.fetch(...args));
    this.#exclusive = ports.exclusive ?? browserExclusive();
    this.#deadlineMs = ports.deadlineMs ?? DEADLINE_MS;
    this.#headers = ports.headers ?? {};
    this.#shared = ports.shared === undefined ? browserShared() : ports.shared;
    this.#shared?.onHeard((reply) => {
      if (this.#refreshing) this.#heard = reply;
    });
  }

  get<T>(path: string, options: Omit<RequestOptions, 'body'> = {}): Promise<T> {
    return this.request<T>('GET', path, options);
  }
  post<T>(path: string, body: unknown = {}, options: RequestOptions = {}): Promise<T> {
    return this.request<T>('POST', path, { ...options, body });
  }
  put<T>(path: string, body: unknown = {}, options: RequestOptions = {}): Promise<T> {
    return this.request<T>('PUT', path, { ...options, body });
  }
  patch<T>(path: string, body: unknown, options: RequestOptions = {}): Promise<T> {
    return this.request<T>('PATCH', path, { ...options, body });
  }
  delete<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.request<T>('DELETE', path, options);
  }

  /** Calls back when a refresh was refused, and why: the session is over. */
  onDenied(listener: (why: ProblemCode) => void): () => void {
    this.#onDenied.add(listener);
    return () => this.#onDenied.delete(listener);
  }

  /**
   * Sends one request and returns its JSON (undefined for 204). An expired access token is refreshed once and the
   * request repeated. Errors: `ApiError` always.
   */
  async request<T>(method: Method, path: string, options: RequestOptions = {}): Promise<T> {
    let response = await this.#send(method, path, options);
    if (response.status === 401 && !ENTRY.has(path)) {
      // A wrong current password is a 401 too, and no reason to refresh.
      const problem = await problemOf(response);
      if (problem.code !== 'unauthorized') throw problem;
      const refreshed = await this.refresh();
      if (refreshed.ok) response = await this.#send(method, path, options);
      else throw refreshed.why === 'unreachable' ? unreachable() : problem;
    }
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      // Whole, but no JSON; anything else is an answer that was cut off.
      if (error instanceof SyntaxError)
        throw new ApiError('unexpected', response.status, 'the answer is not JSON');
      throw unreachable();
    }
  }

  /** Gets a fresh access cookie and socket token. Shape: one at a time, shared by all who ask meanwhile. */
  refresh(): Promise<Refreshed> {
    this.#refreshing ??= this.#exclusive(REFRESH_LOCK, () => this.#refreshNow()).finally(() => {
      this.#refreshing = null;
      // What comes later than the lock is not news for the next refresh.
      this.#heard = null;
    });
    return this.#refreshing;
  }

  async #refreshNow(): Promise<Refreshed> {
    const heard = this.#heard;
    this.#heard = null;
    if (heard) return { ok: true, reply: heard };
    try {
      const response = await this.#send('POST', '/api/auth/refresh', { body: {} });
      if (response.ok) {
        const reply = (await response.json()) as AuthReply;
        this.#shared?.tell(reply);
        return { ok: true, reply };
      }
      // Read to the end in any case, or the browser keeps the connection for an answer nobody takes.
      const { code } = await problemOf(response);
      if (response.status === 401 || response.status === 403) {
        for (const listener of [...this.#onDenied]) listener(code);
        return { ok: false, why: 'denied' };
      }
    } catch {
      // No answer, or one that was cut off: the same outcome as a server that cannot answer now.
    }
    return { ok: false, why: 'unreachable' };
  }

  async #send(method: Method, path: string, options: RequestOptions): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'application/json', ...this.#headers };
    const init: RequestInit = { method, headers, credentials: 'same-origin' };
    if (method !== 'GET') headers['X-WebChat'] = '1';
    if (options.body !== undefined) {
      headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(options.body);
    }
    if (options.keepalive) init.keepalive = true;
    if (options.idempotencyKey) headers['Idempotency-Key'] = options.idempotencyKey;
    const deadline = AbortSignal.timeout(this.#deadlineMs);
    init.signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
    try {
      return await this.#fetch(this.#base + path + queryString(options.query), init);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw unreachable();
    }
  }
}

function unreachable(): ApiError {
  return new ApiError('unreachable', 0, 'the server cannot be reached');
}

function queryString(query: Query | undefined): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}
