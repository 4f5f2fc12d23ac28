import { describe, expect, it, vi } from 'vitest';
import { Api } from './client';
import { cookieFetch } from './cookies';
import { ApiError, PROBLEM_CODES } from './problem';
import type { AuthReply } from './types';

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), { status, headers });

function make(answer: (path: string, init: RequestInit) => Response | Promise<Response>) {
  const calls: { path: string; init: RequestInit; headers: Headers }[] = [];
  const api = new Api({
    fetch: async (input, init = {}) => {
      calls.push({ path: String(input), init, headers: new Headers(init.headers) });
      return await answer(String(input), init);
    },
  });
  return { api, calls };
}

describe('api', () => {
  it('marks every change with X-WebChat and sends JSON', async () => {
    const { api, calls } = make(() => json(200, {}));
    await api.get('/api/me', { query: { q: 'a b', none: undefined } });
    await api.post('/api/x', { a: 1 }, { idempotencyKey: 'k' });
    expect(calls[0]?.path).toBe('/api/me?q=a+b');
    expect(calls[0]?.headers.get('x-webchat')).toBeNull();
    expect(calls[1]?.headers.get('x-webchat')).toBe('1');
    expect(calls[1]?.headers.get('content-type')).toBe('application/json');
    expect(calls[1]?.headers.get('idempotency-key')).toBe('k');
  });

  it.each(PROBLEM_CODES)('turns the problem %s into a typed error', async (code) => {
    const { api } = make(() =>
      json(400, { code, title: 't', fields: { username: 'taken' }, retry_after_ms: 5 }),
    );
    const error = await api.post('/api/auth/login').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      code,
      message: 't',
      fields: { username: 'taken' },
      retryAfterMs: 5,
    });
  });

  it('waits for no answer longer than the deadline, nor for the rest of one', async () => {
    const silent = (signal: AbortSignal | null | undefined) =>
      new Promise<Response>((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason));
      });
    const half = (signal: AbortSignal | null | undefined) =>
      new Response(
        new ReadableStream({
          start: (body) => signal?.addEventListener('abort', () => body.error(signal.reason)),
        }),
      );
    const api = new Api({
      deadlineMs: 20,
      fetch: async (path, init) =>
        path === '/half' ? half(init?.signal) : await silent(init?.signal),
    });
    for (const path of ['/silent', '/half'])
      await expect(api.get(path)).rejects.toMatchObject({ code: 'unreachable', retryable: true });
    const given = new AbortController();
    const left = api.get('/silent', { signal: given.signal });
    given.abort(new Error('left the page'));
    await expect(left).rejects.toThrow('left the page');
  });

  it('makes typed errors of what is no problem document, too', async () => {
    const { api } = make((path) => {
      if (path === '/down') throw new TypeError('no network');
      return new Response('<html>', {
        status: path === '/proxy' ? 502 : 404,
        headers: { 'retry-after': '2' },
      });
    });
    await expect(api.get('/down')).rejects.toMatchObject({ code: 'unreachable', retryable: true });
    await expect(api.get('/proxy')).rejects.toMatchObject({
      code: 'unavailable',
      retryAfterMs: 2_000,
    });
    await expect(api.get('/x')).rejects.toMatchObject({ code: 'unexpected', retryable: false });
  });

  it('refreshes once for all who need it, then repeats each request', async () => {
    let fresh = false;
    const { api, calls } = make((path) => {
      if (path === '/api/auth/refresh') {
        fresh = true;
        return json(200, { user: {}, session: '', socket_token: '', expires_at: 0 });
      }
      return fresh ? json(200, { ok: path }) : json(401, { code: 'unauthorized' });
    });
    const both = await Promise.all([api.get('/a'), api.get('/b')]);
    expect(both).toEqual([{ ok: '/a' }, { ok: '/b' }]);
    expect(calls.filter((call) => call.path === '/api/auth/refresh')).toHaveLength(1);
  });

  it('refreshes for the sessions list, not for a wrong password', async () => {
    const { api, calls } = make((path) => {
      if (path === '/api/auth/refresh') return json(200, { session: 's' });
      const code = path === '/api/auth/password' ? 'bad_credentials' : 'unauthorized';
      return json(401, { code });
    });
    await expect(api.post('/api/auth/password')).rejects.toMatchObject({ code: 'bad_credentials' });
    expect(calls).toHaveLength(1);
    await expect(api.get('/api/auth/sessions')).rejects.toMatchObject({ code: 'unauthorized' });
    expect(calls.map((call) => call.path).slice(1)).toEqual([
      '/api/auth/sessions',
      '/api/auth/refresh',
      '/api/auth/sessions',
    ]);
  });

  it('shares one refresh between tabs', async () => {
    const listeners: ((reply: AuthReply) => void)[] = [];
    let lane: Promise<unknown> = Promise.resolve();
    let refreshes = 0;
    const tab = () => {
      const own: ((reply: AuthReply) => void)[] = [];
      return new Api({
        shared: {
          tell: (reply) => {
            for (const listener of listeners) if (!own.includes(listener)) listener(reply);
          },
          onHeard: (listener) => {
            own.push(listener);
            listeners.push(listener);
          },
        },
        exclusive: (_, run) => {
          const turn = lane.then(run);
          lane = turn;
          return turn;
        },
        fetch: async () => json(200, { session: `s${++refreshes}` }),
      });
    };
    const [a, b] = [tab(), tab()];
    const both = await Promise.all([a.refresh(), b.refresh()]);
    expect(both).toEqual([both[0], both[0]]);
    expect(refreshes).toBe(1);
    await b.refresh();
    expect(refreshes).toBe(2);
  });

  it('tells when the session is over, and does not refresh for a wrong password', async () => {
    const { api, calls } = make(() => json(401, { code: 'unauthorized' }));
    const denied = vi.fn();
    api.onDenied(denied);
    await expect(api.get('/api/me')).rejects.toMatchObject({ code: 'unauthorized' });
    expect(denied).toHaveBeenCalledTimes(1);
    await expect(api.post('/api/auth/login')).rejects.toBeInstanceOf(ApiError);
    expect(calls).toHaveLength(3);
  });

  it('keeps cookies outside a browser', async () => {
    const seen: (string | null)[] = [];
    const fetching = cookieFetch(async (_, init) => {
      seen.push(new Headers(init?.headers).get('cookie'));
      const headers = new Headers();
      headers.append('set-cookie', seen.length < 3 ? 'a=1; Path=/' : 'a=; Max-Age=0');
      headers.append('set-cookie', 'b=x=y; HttpOnly');
      return new Response('', { headers });
    });
    for (let i = 0; i < 4; i += 1) await fetching('http://x/');
    expect(seen).toEqual([null, 'a=1; b=x=y', 'a=1; b=x=y', 'b=x=y']);
  });
});
