import { describe, expect, it, vi } from 'vitest';
import type { Conversation } from '../api/types';
import { BOB, DIRECT, ME, settled, world } from '../test/fakes';
import { createClient } from './client';
import { applyEvent } from './conversations';
import type { DurableEvent } from './wire';

const GROUP = `8${'0'.repeat(31)}`;
const CY = '00000000000000c3';

function conversation(patch: Partial<Conversation> = {}): Conversation {
  return {
    id: DIRECT,
    kind: 'direct',
    title: null,
    other: null,
    members_count: 2,
    role: 'member',
    since: 1,
    mver: 0,
    history: 'joined',
    head: { epoch: 1, seq: 1, ordinal: 0 },
    read: 1,
    delivered: 1,
    unread: 0,
    last_message: null,
    activity_ts: 1,
    muted: false,
    pinned: false,
    hidden: false,
    marked_unread: false,
    draft: '',
    ...patch,
  };
}

const message = (seq: number, from = BOB, patch: Partial<DurableEvent> = {}) =>
  ({
    type: 'message',
    conversation: DIRECT,
    epoch: 1,
    seq,
    ordinal: seq - 1,
    from,
    producer: 'd'.repeat(16),
    no: seq,
    ts: 100 + seq,
    body: { text: `m${seq}` },
    at: `1-${seq}`,
    ...patch,
  }) as DurableEvent;

async function connected() {
  const w = world();
  w.backend.list = [conversation()];
  w.backend.events_.push(message(1));
  const client = createClient(w.ports, ME);
  client.start();
  w.socket().welcome(w.clock);
  await settled();
  return { ...w, client };
}

describe('applyEvent', () => {
  it('counts unread, moves the cursor with own messages, and is guarded by the head', () => {
    const c = conversation();
    const one = applyEvent(c, message(2), ME);
    expect(one).toMatchObject({
      result: 'applied',
      conversation: { unread: 1, last_message: { text: 'm2' } },
    });
    expect(applyEvent(c, message(1), ME).result).toBe('old');
    expect(applyEvent(c, message(3), ME).result).toBe('gap');
    expect(applyEvent(c, { ...message(2), epoch: 2 }, ME).result).toBe('gap');
    const own = applyEvent({ ...c, unread: 4 }, message(2, ME), ME);
    expect(own).toMatchObject({ conversation: { unread: 0, read: 2 } });
    const hole = { type: 'hole', conversation: DIRECT, epoch: 1, from: 2, to: 4 } as const;
    expect(applyEvent(c, hole, ME)).toMatchObject({
      conversation: { head: { seq: 4 }, unread: 0 },
    });
  });

  it('follows edits and deletes of the last message, and a new title', () => {
    const c = conversation({
      last_message: { seq: 1, from: BOB, text: 'a', ts: 1, deleted: false, kind: 'message' },
    });
    const edited = applyEvent(
      c,
      message(2, BOB, { type: 'edit', body: { target: 1, text: 'b' } }),
      ME,
    );
    expect(edited).toMatchObject({ conversation: { last_message: { text: 'b' } } });
    const deleted = applyEvent(c, message(2, BOB, { type: 'delete', body: { target: 1 } }), ME);
    expect(deleted).toMatchObject({ conversation: { last_message: { text: '', deleted: true } } });
    const named = applyEvent(c, message(2, BOB, { type: 'settings', body: { title: 'T' } }), ME);
    expect(named).toMatchObject({ conversation: { title: 'T' } });
  });
});

describe('client', () => {
  it('keeps list, unread and order up, and reports each event once', async () => {
    const { client, socket, backend } = await connected();
    const seen = vi.fn();
    client.onEvent(seen);
    backend.list.push(conversation({ id: GROUP, kind: 'group', activity_ts: 50, pinned: true }));
    await client.refreshConversations();
    expect(client.conversations.get().list.map((c) => c.id)).toEqual([GROUP, DIRECT]);
    socket().say(message(2));
    socket().say(message(2));
    socket().say(message(3));
    expect(client.unread.get()).toMatchObject({ total: 2, conversations: 1 });
    expect(seen).toHaveBeenCalledTimes(2);
    client.markRead(DIRECT, 3);
    expect(client.unread.get().total).toBe(0);
  });

  it('[R15] publishes with local echo, ack, event and ticks', async () => {
    const { client, socket, clock } = await connected();
    const timeline = client.timeline(DIRECT);
    timeline.subscribe(() => undefined);
    await settled();
    expect(client.publish(DIRECT, { text: ' ' })).toEqual({ ok: false, reason: 'empty' });
    expect(client.publish(DIRECT, { text: 'hi' }).ok).toBe(true);
    const last = () => timeline.get().entries.at(-1);
    expect(last()).toMatchObject({ kind: 'pending', status: { state: 'sending' } });
    const sent = socket().of('publish')[0];
    if (!sent) throw new Error('not sent');
    const { producer, no } = sent;
    socket().say({ type: 'ack', conversation: DIRECT, producer, no, epoch: 1, seq: 2, ts: 5 });
    expect(last()).toMatchObject({ kind: 'pending', status: { state: 'sent' } });
    socket().say(message(2, ME, { producer, no, body: { text: 'hi' } } as Partial<DurableEvent>));
    expect(last()).toMatchObject({ kind: 'message', seq: 2, status: { state: 'sent' } });
    socket().say({ type: 'receipt', conversation: DIRECT, user: BOB, delivered: 2, read: 2 });
    expect(last()).toMatchObject({ status: { state: 'read' } });
    await clock.advance(200);
    expect(socket().of('watch').at(-1)?.conversations).toEqual([DIRECT]);
  });

  it('[R31] counts as read what everybody has read, and nothing where nobody is named', async () => {
    const { client, socket, backend } = await connected();
    const timeline = client.timeline(DIRECT);
    backend.receiptsReply = { receipts: [{ user: BOB, delivered: 1, read: 1 }] };
    timeline.subscribe(() => undefined);
    await settled();
    const state = () => {
      const last = timeline.get().entries.findLast((entry) => entry.kind === 'message');
      return last?.kind === 'message' ? last.status?.state : undefined;
    };
    socket().say(message(2, ME));
    socket().say({ type: 'receipt', conversation: DIRECT, user: BOB, delivered: 2, read: 2 });
    expect(state()).toBe('read');
    const joined = [{ user: CY, role: 'member' as const, since: 3 }];
    backend.receiptsReply = {
      receipts: [
        { user: BOB, delivered: 2, read: 2 },
        { user: CY, delivered: 0, read: 0 },
      ],
    };
    socket().say(message(3, ME, { type: 'member', body: { changes: joined } }));
    await settled();
    expect(state()).toBe('sent');
    backend.receiptsReply = { counts: [] };
    socket().say({ type: 'user_changed', what: 'settings' });
    await settled();
    socket().say({ type: 'receipt', conversation: DIRECT, user: BOB, delivered: 3, read: 3 });
    expect(state()).toBe('sent');
  });

  it('[R31] counts in a large group what is on screen, by http alone', async () => {
    const { client, socket, backend, clock } = await connected();
    const timeline = client.timeline(DIRECT);
    backend.receiptsReply = { counts: [] };
    timeline.subscribe(() => undefined);
    await settled();
    socket().say(message(2, ME));
    const state = () => {
      const last = timeline.get().entries.findLast((entry) => entry.kind === 'message');
      return last?.kind === 'message' ? last.status?.state : undefined;
    };
    backend.receiptsReply = {
      counts: [
        { seq: 0, delivered: 39, read: 39 },
        { seq: 2, delivered: 39, read: 12 },
      ],
    };
    client.lookAt(DIRECT, [2]);
    expect(state()).toBe('sent');
    await clock.advance(1_000);
    expect(backend.receiptsAsked.map(({ seqs }) => seqs)).toEqual([[], [0, 2]]);
    expect(state()).toBe('delivered');
    expect(client.counts(DIRECT).get().bySeq.get(2)?.read).toBe(12);
    backend.receiptsReply = { counts: [0, 2].map((seq) => ({ seq, delivered: 39, read: 39 })) };
    await clock.advance(20_000);
    expect(state()).toBe('read');
    await client.stop();
  });

  it('[R27] [R28] comes back with nothing missing, by resume or by reset', async () => {
    for (const resume of ['resumed', 'reset'] as const) {
      const { client, socket, clock, backend } = await connected();
      const timeline = client.timeline(DIRECT);
      timeline.subscribe(() => undefined);
      await settled();
      client.presence(BOB).subscribe(() => undefined);
      socket().say({ type: 'presence', people: [{ user: BOB, online: true }] });
      socket().end(1012);
      expect(client.presence(BOB).get().stale).toBe(true);
      client.publish(DIRECT, { text: 'offline' });
      const missed = [message(2), message(3)];
      backend.events_.push(...missed);
      backend.list = [conversation({ head: { epoch: 1, seq: 3, ordinal: 2 }, unread: 2 })];
      await clock.advance(0);
      socket().welcome(clock, { resume });
      if (resume === 'resumed') for (const event of missed) socket().say(event);
      await clock.advance(1_000);
      const shown = timeline.get().entries.map((e) => ('text' in e ? e.text : e.kind));
      expect(shown).toEqual(['m1', 'm2', 'm3', 'offline']);
      expect(socket().of('publish')).toHaveLength(1);
      expect(client.unread.get().total).toBe(2);
    }
  });

  it('[R33] tells what to refetch, and all of it after each welcome', async () => {
    const { client, socket, clock } = await connected();
    const changed = vi.fn();
    client.onUserChanged(changed);
    socket().say({ type: 'user_changed', what: 'blocked' });
    expect(changed.mock.calls).toEqual([['blocked']]);
    socket().end(1012);
    await clock.advance(0);
    socket().welcome(clock, { resume: 'resumed' });
    expect(changed).toHaveBeenCalledTimes(6);
  });

  it('[R33] shows nothing of who was just blocked', async () => {
    const { client, socket, clock, backend } = await connected();
    const timeline = client.timeline(DIRECT);
    timeline.subscribe(() => undefined);
    await settled();
    socket().say(message(2));
    backend.events_.push({ type: 'hole', conversation: DIRECT, epoch: 1, from: 2, to: 2 });
    backend.list = [conversation({ head: { epoch: 1, seq: 2, ordinal: 1 } })];
    expect(client.unread.get().total).toBe(1);
    socket().say({ type: 'user_changed', what: 'blocked' });
    await clock.advance(1_000);
    const shown = timeline.get().entries.map((e) => ('text' in e ? e.text : e.kind));
    expect(shown).toEqual(['m1']);
    expect(client.unread.get().total).toBe(0);
  });

  it('shows a change of mine at once and takes it back when the api refuses', async () => {
    const { client, backend } = await connected();
    backend.failing = true;
    const patched = client.patchMine(DIRECT, { muted: true });
    expect(client.conversations.get().byId.get(DIRECT)?.muted).toBe(true);
    await expect(patched).rejects.toThrow('down');
    await settled();
    expect(client.conversations.get().byId.get(DIRECT)?.muted).toBe(false);
  });

  it('counts what is left when only a part was read', async () => {
    const { client, socket } = await connected();
    client.timeline(DIRECT).subscribe(() => undefined);
    await settled();
    for (const seq of [2, 3, 4]) socket().say(message(seq));
    client.markRead(DIRECT, 3);
    expect(client.unread.get().total).toBe(1);
  });

  it('leaves nothing running after stop', async () => {
    const { client, clock, sockets } = await connected();
    await client.stop();
    await clock.advance(600_000);
    expect(sockets).toHaveLength(1);
    expect(client.connection.get()).toMatchObject({ phase: 'disconnected', reason: 'stopped' });
  });
});
