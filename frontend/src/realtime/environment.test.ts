import { describe, expect, it, vi } from 'vitest';
import { Api } from '../api/client';
import { backendOver, nodePorts, wireOver } from './environment';
import { refusalOf, TEXT_BYTES_MAX } from './text';

class StandIn {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((close: { code: number }) => void) | null = null;
  sent: string[] = [];
  send = (text: string) => void this.sent.push(text);
  close = vi.fn();
}

describe('environment', () => {
  it('[R1] offers webchat.v1, passes the token, and ends exactly once', () => {
    const socket = new StandIn();
    const make = vi.fn(() => socket as unknown as WebSocket);
    const events = { onopen: vi.fn(), onmessage: vi.fn(), onend: vi.fn() };
    const wire = wireOver('ws://x/ws', make)('token', events);
    expect(make).toHaveBeenCalledWith('ws://x/ws', 'webchat.v1', 'token');
    wire.send('too early');
    socket.readyState = 1;
    wire.send('a');
    expect(socket.sent).toEqual(['a']);
    socket.onmessage?.({ data: 'text' });
    socket.onmessage?.({ data: new ArrayBuffer(1) });
    expect(events.onmessage.mock.calls).toEqual([['text']]);
    socket.onclose?.({ code: 1012 });
    socket.onclose?.({ code: 1006 });
    expect(events.onend.mock.calls).toEqual([[1012]]);
  });

  it('asks without min_seq when the api is behind', async () => {
    const asked: string[] = [];
    const fetching = async (input: unknown) => {
      asked.push(String(input));
      const behind = String(input).includes('min_seq');
      return new Response(
        JSON.stringify(behind ? { code: 'unavailable' } : { epoch: 1, head: 3, events: [] }),
        {
          status: behind ? 503 : 200,
        },
      );
    };
    const backend = backendOver(new Api({ fetch: fetching as typeof fetch }));
    expect(await backend.events('c', 2, 9)).toMatchObject({ head: 3 });
    expect(asked).toEqual([
      '/api/conversations/c/events?after=2&limit=200&min_seq=9',
      '/api/conversations/c/events?after=2&limit=200',
    ]);
  });

  it('gives a lock to one holder only, and runs without any browser global', async () => {
    const { locks, surroundings } = nodePorts(new Api(), 'ws://x', vi.fn(), 'test');
    const release = await locks.tryHold('a');
    expect(await locks.tryHold('a')).toBeNull();
    release?.();
    expect(await locks.tryHold('a')).not.toBeNull();
    expect([surroundings.hidden(), surroundings.online()]).toEqual([false, true]);
  });

  it('[R19] refuses what the server would refuse', () => {
    expect(refusalOf({ text: ' \n' })).toBe('empty');
    expect(refusalOf({ text: '', attachments: ['f'] })).toBeNull();
    expect(refusalOf({ text: 'a\u0007' })).toBe('control_characters');
    expect(refusalOf({ text: 'tab\tand\nnewline 👍' })).toBeNull();
    expect(refusalOf({ text: 'é'.repeat(TEXT_BYTES_MAX / 2) })).toBeNull();
    expect(refusalOf({ text: `${'é'.repeat(TEXT_BYTES_MAX / 2)}x` })).toBe('too_long');
    expect(refusalOf({ text: 'a', attachments: Array(11).fill('f') })).toBe('too_many_attachments');
  });
});
