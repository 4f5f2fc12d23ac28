/**
 * The ports as a browser or Node has them.
 *
 * Owns: every global that realtime/ touches. Never does: decide. Talks to: WebSocket, Web Locks, document.
 * Start reading at: `browserPorts`, `nodePorts`.
 */
import type { Api } from '../api/client';
import { ApiError } from '../api/problem';
import type { Conversation } from '../api/types';
import type { Backend, Clock, Locks, OpenWire, Ports, Surroundings } from './ports';
import { IndexedDbStorage, MemoryStorage } from './storage';

export const SUBPROTOCOL = 'webchat.v1';
const MAX_TIMER_MS = 2 ** 31 - 1;
/** `WebSocket.OPEN`; older Nodes have no global of that name. */
const OPEN = 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  after: (ms, run) => setTimeout(run, Math.min(ms, MAX_TIMER_MS)),
  cancel: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/** 2⁻³² steps from the system's source; producers need real randomness. */
export function systemRandom(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
}

export type SocketMaker = (url: string, protocol: string, token: string | null) => WebSocket;

export function wireOver(url: string, make: SocketMaker): OpenWire {
  return (token, events) => {
    const socket = make(url, SUBPROTOCOL, token);
    let ended = false;
    const end = (code: number) => {
      if (ended) return;
      ended = true;
      events.onend(code);
    };
    socket.onopen = () => events.onopen();
    socket.onmessage = (message) => {
      if (!ended && typeof message.data === 'string') events.onmessage(message.data);
    };
    socket.onclose = (close) => end(close.code);
    return {
      send: (text) => {
        if (socket.readyState === OPEN) socket.send(text);
      },
      close: (code) => {
        ended = true;
        socket.close(code);
      },
    };
  };
}

const soleLocks = (): Locks => {
  const held = new Set<string>();
  return {
    tryHold: async (name) => {
      if (held.has(name)) return null;
      held.add(name);
      return () => void held.delete(name);
    },
  };
};

export function webLocks(): Locks {
  const manager = globalThis.navigator?.locks;
  if (!manager) return soleLocks();
  return {
    tryHold: (name) =>
      new Promise((resolve) => {
        const taken = manager.request(name, { ifAvailable: true }, (lock) => {
          if (!lock) return resolve(null);
          return new Promise<void>((release) => resolve(release));
        });
        // Refused altogether (document going away): the same as held by somebody else.
        taken.catch(() => resolve(null));
      }),
  };
}

export const pageSurroundings = (): Surroundings => ({
  hidden: () => document.visibilityState === 'hidden',
  online: () => navigator.onLine,
  onChange: (listener) => {
    window.addEventListener('online', listener);
    window.addEventListener('offline', listener);
    document.addEventListener('visibilitychange', listener);
    return () => {
      window.removeEventListener('online', listener);
      window.removeEventListener('offline', listener);
      document.removeEventListener('visibilitychange', listener);
    };
  },
});

const alwaysThere: Surroundings = {
  hidden: () => false,
  online: () => true,
  onChange: () => () => undefined,
};

export function backendOver(api: Api): Backend {
  const of = (id: string) => `/api/conversations/${id}`;
  return {
    refresh: async () => {
      const refreshed = await api.refresh();
      if (!refreshed.ok) return refreshed;
      const { socket_token, expires_at } = refreshed.reply;
      return { ok: true, token: socket_token, expiresAt: expires_at };
    },
    conversations: async () =>
      (await api.get<{ conversations: Conversation[] }>('/api/conversations')).conversations,
    conversation: (id) => api.get(of(id)),
    patchMine: (id, patch) => api.patch(`${of(id)}/mine`, patch, { keepalive: true }),
    events: async (id, after, minSeq) => {
      const query = { after, limit: 200 };
      try {
        return await api.get(`${of(id)}/events`, {
          query: { ...query, min_seq: minSeq ?? undefined },
        });
      } catch (error) {
        // The api is behind: what it has is better than nothing, the rest is asked for again.
        if (minSeq === null || !(error instanceof ApiError) || error.status !== 503) throw error;
        return await api.get(`${of(id)}/events`, { query });
      }
    },
    messages: (id, at) => api.get(`${of(id)}/messages`, { query: { ...at, limit: 50 } }),
    receipts: (id, seqs, signal) =>
      api.get(`${of(id)}/receipts`, { query: { seqs: seqs?.join(',') }, signal }),
  };
}

/** In a page: cookies, IndexedDB, Web Locks. */
export function browserPorts(api: Api, user: string, clientName = 'webchat-web'): Ports {
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    clock: systemClock,
    random: systemRandom,
    openWire: wireOver(url.href, (address, protocol) => new WebSocket(address, protocol)),
    backend: backendOver(api),
    storage: globalThis.indexedDB ? new IndexedDbStorage(user) : new MemoryStorage(),
    locks: webLocks(),
    surroundings: pageSurroundings(),
    clientName,
  };
}

/** Without a page: `make` opens a WebSocket that sends the token as `Authorization: Bearer`. */
export function nodePorts(api: Api, wsUrl: string, make: SocketMaker, clientName: string): Ports {
  return {
    clock: systemClock,
    random: systemRandom,
    openWire: wireOver(wsUrl, make),
    backend: backendOver(api),
    storage: new MemoryStorage(),
    locks: soleLocks(),
    surroundings: alwaysThere,
    clientName,
  };
}
