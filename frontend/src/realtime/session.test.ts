import { describe, expect, it, vi } from 'vitest';
import { world } from '../test/fakes';
import { backoffMs, Session, SILENCE_MS } from './session';

function start(token: string | null = null) {
  const w = world();
  const events = { onWelcome: vi.fn(), onFrame: vi.fn(), onDown: vi.fn() };
  const session = new Session(w.ports, events);
  session.start(token);
  return { ...w, events, session, phase: () => session.state.get().phase };
}

describe('session', () => {
  it('[R6] says hello first and is connected only after welcome', () => {
    const { session, socket, clock, phase } = start();
    expect(phase()).toBe('connecting');
    expect(session.send({ type: 'ping' })).toBe(false);
    socket().open();
    expect(socket().sent).toEqual([{ type: 'hello', client: 'test' }]);
    socket().welcome(clock);
    expect(phase()).toBe('connected');
  });

  it('[R8] resolves a command by its id', async () => {
    const { session, socket, clock } = start();
    socket().welcome(clock);
    const [a, b] = [session.request({ type: 'ping' }), session.request({ type: 'ping' })];
    socket().say({ type: 'error', id: b.id, code: 'overloaded', message: '' });
    socket().say({ type: 'ok', id: a.id });
    expect(await a.reply).toEqual({ ok: true });
    expect(await b.reply).toMatchObject({ ok: false, error: { code: 'overloaded' } });
    const c = session.request({ type: 'ping' });
    await clock.advance(15_000);
    expect(await c.reply).toEqual({ ok: false, error: null });
  });

  it('[R26] resumes with the newest token', async () => {
    const { socket, clock } = start();
    socket().welcome(clock, { at: '1-5' });
    socket().say({ type: 'beat', at: '1-9' });
    socket().end(1012);
    await clock.advance(0);
    socket().open();
    expect(socket().of('hello')[0]?.resume).toBe('1-9');
  });

  it('[R34] gives up after 40 s of silence, and not while beats come', async () => {
    const { socket, sockets, clock, phase, events } = start();
    socket().welcome(clock);
    for (let i = 0; i < 4; i += 1) {
      await clock.advance(SILENCE_MS - 1);
      socket().say({ type: 'beat', at: '1-2' });
    }
    expect(phase()).toBe('connected');
    await clock.advance(SILENCE_MS);
    expect(phase()).not.toBe('connected');
    expect(events.onDown).toHaveBeenCalledTimes(1);
    await clock.advance(31_000);
    expect(sockets.length).toBeGreaterThan(1);
    expect(sockets[0]?.closed).toBe(true);
  });

  it('[R36] brings a new token before the old one expires', async () => {
    const { socket, clock, backend, phase } = start('old');
    backend.refreshOutcome = { ok: true, token: 'T2', expiresAt: clock.now() + 1_200_000 };
    socket().welcome(clock);
    for (let t = 0; t < 600_000; t += 30_000) {
      await clock.advance(30_000);
      socket().say({ type: 'beat', at: '1-2' });
      if (socket().of('reauth').length > 0) break;
    }
    expect(backend.refreshes).toBe(1);
    expect(socket().of('reauth')[0]?.token).toBe('T2');
    expect(phase()).toBe('connected');
  });

  it.each([3_600_000, -3_600_000])(
    '[R36] goes by the clock of the server, be it %i ms ahead',
    async (ahead) => {
      const { socket, clock, backend } = start('old');
      const serverTime = () => clock.now() + ahead;
      let refreshes = 0;
      backend.refresh = async () => {
        refreshes += 1;
        return { ok: true, token: `T${refreshes}`, expiresAt: serverTime() + 600_000 };
      };
      const expires_at = serverTime() + 600_000;
      socket().welcome(clock, { server_time: serverTime(), expires_at });
      for (let t = 0; t < 1_140_000; t += 5_000) {
        await clock.advance(5_000);
        socket().say({ type: 'beat', at: '1-2' });
        for (const { id } of socket().of('reauth')) socket().say({ type: 'ok', id });
      }
      expect(refreshes).toBe(2);
    },
  );

  it('[R37] does not hammer a server that refuses fresh tokens, too', async () => {
    const { socket, sockets, clock } = start();
    for (let t = 0; t < 2_000; t += 100) {
      socket().end(4401);
      await clock.advance(100);
    }
    expect(sockets.length).toBeGreaterThan(1);
    expect(sockets.length).toBeLessThan(10);
  });

  it('[R37] refreshes after 4401 and reconnects at once; refused: unauthorized, no more attempts', async () => {
    const { socket, sockets, clock, backend, session } = start();
    socket().welcome(clock);
    socket().end(4401);
    await clock.advance(0);
    expect([backend.refreshes, sockets.length]).toEqual([1, 2]);
    socket().welcome(clock);
    backend.refreshOutcome = { ok: false, why: 'denied' };
    socket().end(4401);
    await clock.advance(120_000);
    expect(session.state.get()).toMatchObject({ phase: 'disconnected', reason: 'unauthorized' });
    expect(sockets.length).toBe(2);
  });

  it.each([1000, 1003, 4400, 4403])('does not come back after %i', async (code) => {
    const { socket, sockets, clock, session } = start();
    socket().welcome(clock);
    socket().end(code);
    await clock.advance(120_000);
    expect(sockets.length).toBe(1);
    const reason = code === 4403 ? 'disabled' : 'refused';
    expect(session.state.get()).toMatchObject({ phase: 'disconnected', reason });
  });

  it('[R39] comes back in the slot of goaway', async () => {
    const { socket, sockets, clock } = start();
    socket().welcome(clock);
    socket().say({ type: 'goaway', reconnect_in_ms: 4_000 });
    socket().end(1012);
    await clock.advance(3_999);
    expect(sockets.length).toBe(1);
    await clock.advance(1);
    expect(sockets.length).toBe(2);
  });

  it('[R39] counts the slot from goaway, not from the close', async () => {
    const { socket, sockets, clock } = start();
    socket().welcome(clock);
    socket().say({ type: 'goaway', reconnect_in_ms: 4_000 });
    await clock.advance(3_000);
    socket().end(1012);
    await clock.advance(999);
    expect(sockets.length).toBe(1);
    await clock.advance(1);
    expect(sockets.length).toBe(2);
  });

  it('[R40] backs off with full jitter up to 30 s', async () => {
    expect(backoffMs(0, () => 1)).toBe(500);
    expect(backoffMs(3, () => 0.5)).toBe(2_000);
    expect(backoffMs(50, () => 1)).toBe(30_000);
    const { socket, sockets, clock } = start();
    for (let i = 0; i < 8; i += 1) {
      const before = sockets.length;
      socket().end(1006);
      // Also passes when the attempt itself fails after 10 s without an answer.
      await clock.advance(41_000);
      expect(sockets.length).toBeGreaterThan(before);
    }
  });

  it('ignores an earlier socket', async () => {
    const { socket, sockets, clock, phase } = start();
    socket().welcome(clock);
    socket().end(1012);
    await clock.advance(0);
    socket().welcome(clock);
    sockets[0]?.end(4403);
    sockets[0]?.say({ type: 'beat', at: '9-9' });
    expect([phase(), sockets.length]).toEqual(['connected', 2]);
  });

  it('connects at once when the network is back, and probes after sleep', async () => {
    const { socket, sockets, clock, surround, session } = start();
    socket().welcome(clock);
    surround({ hidden: true });
    surround({ hidden: false });
    expect(socket().of('ping')).toHaveLength(1);
    surround({ online: false });
    await clock.advance(5_000);
    expect(session.state.get()).toMatchObject({ phase: 'disconnected', reason: 'offline' });
    surround({ online: true });
    expect(sockets.length).toBe(2);
  });

  it('offline before the welcome: says so after 5 s, not after the 10 s of a slow server', async () => {
    const { session, clock, surround } = start();
    surround({ online: false });
    await clock.advance(5_000);
    expect(session.state.get()).toMatchObject({ phase: 'disconnected', reason: 'offline' });
  });
});
