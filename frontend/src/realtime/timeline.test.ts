import { describe, expect, it } from 'vitest';
import { BOB, DIRECT, FakeBackend, FakeClock, ME, seeded, settled } from '../test/fakes';
import { NOTHING_COUNTED } from './counts';
import type { OwnView } from './entries';
import { Timeline } from './timeline';
import type { DurableEvent, HoleFrame } from './wire';

type Live = DurableEvent | HoleFrame;

function make(seed = 1) {
  const clock = new FakeClock();
  const backend = new FakeBackend();
  const own: OwnView = { me: ME, pendings: [], receipts: new Map(), counts: NOTHING_COUNTED };
  const timeline = new Timeline(DIRECT, {
    clock,
    random: seeded(seed),
    backend,
    own: () => own,
    fetched: () => undefined,
    onUse: () => undefined,
  });
  return { clock, backend, own, timeline };
}

let ordinal = 0;
function event(seq: number, type: DurableEvent['type'], body: unknown, from = BOB): DurableEvent {
  if (type === 'message') ordinal += 1;
  const head = {
    conversation: DIRECT,
    epoch: 1,
    seq,
    ordinal,
    from,
    producer: 'd'.repeat(16),
    no: seq,
    ts: seq,
  };
  return { ...head, type, body } as DurableEvent;
}
const message = (seq: number, text = `m${seq}`) => event(seq, 'message', { text });

/** A random but legal next event. */
function randomEvent(seq: number, random: () => number): Live {
  const target = 1 + Math.floor(random() * Math.max(1, seq - 1));
  const from = random() < 0.5 ? ME : BOB;
  const dice = random();
  if (seq === 1) return event(1, 'created', { history: 'joined', members: [] });
  if (dice < 0.5) {
    const body = random() < 0.3 ? { text: `m${seq}`, reply_to: target } : { text: `m${seq}` };
    return event(seq, 'message', body, from);
  }
  if (dice < 0.62) return event(seq, 'edit', { target, text: `e${seq}` }, from);
  if (dice < 0.7) return event(seq, 'delete', { target }, from);
  if (dice < 0.88) {
    const emoji = random() < 0.5 ? '👍' : '🎉';
    return event(seq, 'reaction', { target, emoji, on: random() < 0.7 }, from);
  }
  if (dice < 0.94) return event(seq, 'member', { changes: [] }, from);
  return { type: 'hole', conversation: DIRECT, epoch: 1, from: seq, to: seq };
}

const texts = (t: Timeline) =>
  t.get().entries.map((e) => (e.kind === 'message' || e.kind === 'pending' ? e.text : e.kind));

describe('timeline', () => {
  it('[R29] puts live events aside while the first page is fetched, then applies those above it', async () => {
    const { backend, timeline } = make();
    backend.events_.push(message(1), message(2));
    const loading = timeline.reload();
    timeline.receive(message(2));
    timeline.receive(message(3));
    await loading;
    expect(texts(timeline)).toEqual(['m1', 'm2', 'm3']);
    expect(timeline.position).toEqual({ epoch: 1, seq: 3 });
  });

  it('[R22] ignores what is known and fetches what is between', async () => {
    const { backend, timeline, clock } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    timeline.receive(message(1, 'again'));
    backend.events_.push(message(2), message(3), message(4));
    timeline.receive(message(4));
    expect(timeline.get().catchingUp).toBe(true);
    expect(texts(timeline)).toEqual(['m1']);
    await clock.advance(50);
    expect(texts(timeline)).toEqual(['m1', 'm2', 'm3', 'm4']);
    expect(timeline.get().catchingUp).toBe(false);
  });

  it('[R22] a higher epoch keeps what is there and fetches from the position on', async () => {
    const { backend, timeline, clock } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    backend.epoch = 2;
    const far = { ...message(1_048_578), epoch: 2 };
    backend.events_.push(
      { type: 'hole', conversation: DIRECT, epoch: 2, from: 2, to: 1_048_577 },
      far,
    );
    timeline.receive(far);
    await clock.advance(50);
    expect(timeline.position).toEqual({ epoch: 2, seq: 1_048_578 });
    expect(texts(timeline)).toEqual(['m1', 'm1048578']);
  });

  it('[R33] is fetched anew when what may be seen has changed, however often it takes', async () => {
    const { backend, timeline, clock } = make();
    const hole = (seq: number): HoleFrame => ({
      type: 'hole',
      conversation: DIRECT,
      epoch: 1,
      from: seq,
      to: seq,
    });
    backend.events_.push(message(1), message(2), message(3));
    const loading = timeline.reload();
    await settled();
    await loading;
    backend.events_[1] = hole(2);
    timeline.renew();
    await clock.advance(50);
    expect(texts(timeline)).toEqual(['m1', 'm3']);
    backend.failing = true;
    backend.events_[0] = hole(1);
    timeline.renew();
    await clock.advance(5_000);
    backend.failing = false;
    await clock.advance(60_000);
    expect(texts(timeline)).toEqual(['m3']);
    expect(timeline.get().catchingUp).toBe(false);
  });

  it('[R21] moves over holes', async () => {
    const { backend, timeline } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    timeline.receive({ type: 'hole', conversation: DIRECT, epoch: 1, from: 2, to: 5 });
    timeline.receive(message(6));
    expect(texts(timeline)).toEqual(['m1', 'm6']);
  });

  it('[R25] an edit, then a delete, changes the message and its quotes in place', async () => {
    const { backend, timeline } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    timeline.receive(event(2, 'message', { text: 'answer', reply_to: 1 }));
    timeline.receive(event(3, 'edit', { target: 1, text: 'better' }));
    const quoted = () => timeline.get().entries.find((e) => e.kind === 'message' && e.seq === 2);
    expect(quoted()).toMatchObject({ reply_to: { seq: 1, from: BOB, text: 'better' } });
    timeline.receive(event(4, 'delete', { target: 1 }));
    timeline.receive(event(5, 'edit', { target: 1, text: 'too late' }));
    expect(texts(timeline)).toEqual(['', 'answer']);
    expect(quoted()).toMatchObject({ reply_to: { text: '', deleted: true } });
  });

  it('[R28] after a reset it fetches what it lacks, also when the api fails at first', async () => {
    const { backend, timeline, clock } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    for (let seq = 2; seq <= 70; seq += 1) backend.events_.push(message(seq));
    backend.failing = true;
    timeline.up(false);
    await clock.advance(200);
    backend.failing = false;
    await clock.advance(31_000);
    expect(timeline.position?.seq).toBe(70);
    expect(texts(timeline)).toHaveLength(70);
  });

  it('[R28] looks again when a welcome came while it was fetching', async () => {
    const { backend, timeline, clock } = make();
    backend.events_.push(message(1));
    const loading = timeline.reload();
    timeline.up(false);
    backend.events_.push(message(2));
    await loading;
    await clock.advance(50);
    expect(texts(timeline)).toEqual(['m1', 'm2']);
  });

  it('shows the newest page instead of replaying thousands of missed events', async () => {
    const { backend, timeline, clock } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    for (let seq = 2; seq <= 3_000; seq += 1) backend.events_.push(message(seq));
    timeline.up(false);
    await clock.advance(50);
    expect(timeline.position?.seq).toBe(3_000);
    expect(texts(timeline)).toHaveLength(backend.pageSize);
    expect(timeline.get().moreBefore).toBe(true);
  });

  it('[R15] shows an own message at once, and the event takes its place under the same key', async () => {
    const { backend, timeline, own } = make();
    backend.events_.push(message(1));
    await timeline.reload();
    const pending = {
      id: 'x',
      tab: 'e'.repeat(16),
      order: 1,
      conversation: DIRECT,
      producer: 'e'.repeat(16),
      no: 1,
      body: { text: 'mine' },
      ts: 1,
      ack: null,
      failed: null,
    };
    own.pendings = [pending];
    timeline.redraw();
    const before = timeline.get().entries.at(-1);
    expect(before).toMatchObject({ kind: 'pending', text: 'mine', status: { state: 'sending' } });
    const { producer, no } = pending;
    timeline.receive({
      ...event(2, 'message', { text: 'mine' }, ME),
      producer,
      no,
    } as DurableEvent);
    const after = timeline.get().entries;
    expect(after).toHaveLength(2);
    expect(after.at(-1)).toMatchObject({
      kind: 'message',
      key: before?.key,
      status: { state: 'sent' },
    });
    own.receipts = new Map([[BOB, { delivered: 2, read: 0 }]]);
    timeline.redraw();
    expect(timeline.get().entries.at(-1)).toMatchObject({ status: { state: 'delivered' } });
    expect(timeline.get().entries[0]).toBe(after[0]);
  });

  it('[R14] what was refused and is stored all the same is shown once, as stored', async () => {
    const { backend, timeline, own } = make();
    const key = { from: ME, producer: 'e'.repeat(16), no: 1 };
    const refused = { code: 'forbidden', message: 'no', maybe: true };
    const [tab, at] = [key.producer, { conversation: DIRECT, order: 1, ts: 1, ack: null }];
    const body = { text: 'm1' };
    own.pendings = [{ id: 'x', tab, producer: tab, no: 1, body, ...at, failed: refused }];
    backend.events_.push({ ...message(1), ...key } as DurableEvent);
    await timeline.reload();
    expect(timeline.get().entries).toMatchObject([{ kind: 'message', status: { state: 'sent' } }]);
  });

  it('pages back, jumps far away and joins the live window again', async () => {
    const { backend, timeline } = make();
    for (let seq = 1; seq <= 100; seq += 1) backend.events_.push(message(seq));
    await timeline.reload();
    await timeline.loadOlder();
    expect(texts(timeline)[0]).toBe('m61');
    await timeline.jumpTo(10);
    expect(texts(timeline)).toContain('m10');
    expect(timeline.get().moreAfter).toBe(true);
    timeline.receive(message(101));
    expect(texts(timeline)).not.toContain('m101');
    for (let i = 0; i < 5 && timeline.get().moreAfter; i += 1) await timeline.loadNewer();
    expect(timeline.get().moreAfter).toBe(false);
    const all = texts(timeline);
    expect(all.at(-1)).toBe('m101');
    expect(new Set(all).size).toBe(all.length);
    await timeline.loadOlder();
    expect(texts(timeline)).toHaveLength(101);
    expect(timeline.get().moreBefore).toBe(false);
  });

  it('[R20] applied equals freshly fetched: 150 random histories with drops, duplicates and slow fetches', async () => {
    for (let seed = 1; seed <= 150; seed += 1) {
      const random = seeded(seed);
      const { backend, timeline, clock } = make(seed);
      backend.pageSize = 12;
      const loading = random() < 0.5 ? timeline.reload() : null;
      const total = 20 + Math.floor(random() * 40);
      for (let seq = 1; seq <= total; seq += 1) {
        const next = randomEvent(seq, random);
        backend.events_.push(next);
        if (seq === 10 && !loading) void timeline.reload();
        if (random() > 0.15) timeline.receive(next);
        if (random() < 0.1) timeline.receive(next);
        const old = backend.events_[Math.floor(random() * seq)];
        if (old && random() < 0.1) timeline.receive(old);
        if (random() < 0.1) await settled();
        if (random() < 0.05) await timeline.loadOlder().catch(() => undefined);
        backend.failing = seq < total && random() < 0.1;
      }
      backend.failing = false;
      await clock.advance(40_000);
      if (timeline.get().phase === 'failed') await timeline.reload();
      timeline.up(false);
      await clock.advance(40_000);
      while (timeline.get().moreBefore) await timeline.loadOlder();
      await clock.advance(50);

      const fresh = make(seed);
      fresh.backend.events_.push(...backend.events_);
      fresh.backend.pageSize = 1_000;
      await fresh.timeline.reload();
      expect(timeline.get().entries, `seed ${seed}`).toEqual(fresh.timeline.get().entries);
      expect(timeline.position, `seed ${seed}`).toEqual(fresh.timeline.position);
    }
  });
});
