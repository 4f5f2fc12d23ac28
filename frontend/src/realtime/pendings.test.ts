import { describe, expect, it } from 'vitest';
import { DIRECT, FakeClock, ME, type Sent, SharedLocks, seeded, settled } from '../test/fakes';
import { Pendings } from './pendings';
import type { Locks } from './ports';
import type { Reply } from './session';
import { MemoryStorage, type PendingStorage } from './storage';
import type { ErrorFrame, MessageBody, MessageEvent } from './wire';

type Publish = Extract<Sent, { type: 'publish' }>;

/** One tab: its pendings, and what it sent on the present connection. */
function tab(
  seed = 1,
  storage: PendingStorage = new MemoryStorage(),
  locks?: Locks,
  clock = new FakeClock(),
) {
  const sent: (Publish & { id: number })[] = [];
  const waiting = new Map<number, (reply: Reply) => void>();
  let next = 1;
  const settle = (id: number, reply: Reply) => {
    waiting.get(id)?.(reply);
    waiting.delete(id);
  };
  const pendings = new Pendings({
    user: ME,
    clock,
    random: seeded(seed),
    storage,
    locks: locks ?? new SharedLocks().tab(),
    settle: (id) => settle(id, { ok: true }),
    changed: () => undefined,
    send: (command) => {
      const id = next++;
      sent.push({ ...(command as Publish), id });
      return { id, reply: new Promise((resolve) => waiting.set(id, resolve)) };
    },
  });
  const at = (i: number) => {
    const found = sent.at(i);
    if (!found) throw new Error('nothing was sent');
    return found;
  };
  return {
    pendings,
    sent,
    clock,
    at,
    ack: (command: Publish, seq: number, epoch = 1) =>
      pendings.onAck({
        type: 'ack',
        conversation: DIRECT,
        producer: command.producer,
        no: command.no,
        epoch,
        seq,
        ts: 1,
      }),
    refuse: async (
      command: { id: number },
      code: ErrorFrame['code'],
      more: Partial<ErrorFrame> = {},
    ) => {
      settle(command.id, {
        ok: false,
        error: { type: 'error', id: command.id, code, message: code, ...more },
      });
      await settled();
    },
    /** The connection ends. */
    drop: async () => {
      for (const id of [...waiting.keys()]) settle(id, { ok: false, error: null });
      pendings.down();
      await settled();
      sent.length = 0;
    },
    nos: () => sent.map((c) => [c.no, c.body.text]),
    /** Which producer each was sent under: 0, 1, 2 … in the order of appearance. */
    makers: () => {
      const known = [...new Set(sent.map((c) => c.producer))];
      return sent.map((c) => known.indexOf(c.producer));
    },
    failed: (text: string) =>
      pendings.list(DIRECT).find((p) => p.failed && p.body.text === text)?.id ?? '',
    say: (text: string) => pendings.add(DIRECT, { text }),
    texts: () =>
      pendings
        .list(DIRECT)
        .map((p) => [p.body.text, p.failed ? 'failed' : p.ack ? 'sent' : 'sending']),
  };
}

const eventOf = (
  command: Publish,
  seq: number,
  body: MessageBody = command.body,
): MessageEvent => ({
  type: 'message',
  conversation: DIRECT,
  epoch: 1,
  seq,
  ordinal: seq,
  from: ME,
  producer: command.producer,
  no: command.no,
  ts: 1,
  body,
});

describe('pendings', () => {
  it('[R10] numbers 1, 2, 3, sends in order, and shows an ack as sent', () => {
    const t = tab();
    t.pendings.up();
    for (const text of ['a', 'b', 'c']) t.say(text);
    expect(t.nos()).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    expect(t.pendings.unsent.get()).toBe(3);
    t.ack(t.at(0), 7);
    expect(t.texts()).toEqual([
      ['a', 'sent'],
      ['b', 'sending'],
      ['c', 'sending'],
    ]);
    expect(t.pendings.unsent.get()).toBe(2);
  });

  it('[R11] sends the same key and body again after a reconnect', async () => {
    const t = tab();
    t.say('written offline');
    expect(t.sent).toEqual([]);
    t.pendings.up();
    const before = t.nos();
    const producer = t.at(0).producer;
    await t.drop();
    t.pendings.up();
    expect(t.nos()).toEqual(before);
    expect(t.at(0).producer).toBe(producer);
  });

  it('[R12] goes on under a new producer after reused', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    await t.refuse(t.at(0), 'reused', { seq: 9 });
    await t.refuse(t.at(1), 'out_of_order', { expected: 1 });
    await t.clock.advance(2_000);
    expect(t.nos().slice(2)).toEqual([
      [1, 'a'],
      [2, 'b'],
    ]);
    expect(t.makers()).toEqual([0, 0, 1, 1]);
  });

  it('[R13] sends again from the expected number', async () => {
    const t = tab();
    t.pendings.up();
    for (const text of ['a', 'b', 'c']) t.say(text);
    await t.refuse(t.at(0), 'unavailable', { retry_after_ms: 100 });
    await t.refuse(t.at(1), 'out_of_order', { expected: 1 });
    await t.refuse(t.at(2), 'out_of_order', { expected: 1 });
    await t.clock.advance(5_000);
    expect(t.nos().slice(3)).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
  });

  it('[R13] takes an answer that is older than an ack for what it is', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    t.ack(t.at(0), 5);
    t.pendings.onPersisted({ type: 'persisted', conversation: DIRECT, epoch: 1, seq: 5 });
    await t.refuse(t.at(1), 'out_of_order', { expected: 1 });
    await t.clock.advance(5_000);
    expect(t.nos().at(-1)).toEqual([2, 'b']);
    expect(t.makers()).toEqual([0, 0, 0]);
    // What is said of an attempt that was sent after the ack counts.
    await t.refuse(t.at(2), 'out_of_order', { expected: 1 });
    await t.clock.advance(5_000);
    expect(t.nos().at(-1)).toEqual([1, 'b']);
    expect(t.makers()).toEqual([0, 0, 0, 1]);
  });

  it('[R14] after a final error the later ones go on under a new producer, none is lost', async () => {
    const t = tab();
    t.pendings.up();
    for (const text of ['a', 'bad', 'c', 'd']) t.say(text);
    t.ack(t.at(0), 5);
    const [, , c, d] = [...t.sent];
    await t.refuse(t.at(1), 'too_large');
    // Answers to c and d are still to come: moved now, they would be under way under two keys.
    expect(t.sent).toHaveLength(4);
    t.say('e');
    expect(t.sent).toHaveLength(4);
    await t.refuse(c as Publish & { id: number }, 'out_of_order', { expected: 2 });
    await t.refuse(d as Publish & { id: number }, 'out_of_order', { expected: 2 });
    await t.clock.advance(5_000);
    expect(t.nos().slice(4)).toEqual([
      [1, 'c'],
      [2, 'd'],
      [3, 'e'],
    ]);
    expect(t.makers()).toEqual([0, 0, 0, 0, 1, 1, 1]);
    expect(t.texts()[1]).toEqual(['bad', 'failed']);
    t.pendings.retry(t.failed('bad'));
    expect(t.nos().at(-1)).toEqual([4, 'bad']);
    expect(t.makers().at(-1)).toBe(1);
    expect(t.pendings.lastKey(DIRECT)).toEqual({ producer: t.at(4).producer, no: 4 });
  });

  it('[R14] what may be under way behind a refused one is never sent under a number below', async () => {
    const t = tab();
    t.pendings.up();
    t.say('bad');
    t.say('b');
    const old = t.at(0).producer;
    await t.refuse(t.at(0), 'unavailable');
    await t.drop(); // b may be on its way to the log, under (old, 2).
    t.pendings.up();
    await t.refuse(t.at(0), 'forbidden');
    await t.refuse(t.at(1), 'out_of_order', { expected: 1 });
    await t.clock.advance(5_000);
    expect(t.nos()).toEqual([
      [1, 'bad'],
      [2, 'b'],
      [1, 'b'],
    ]);
    expect(t.at(2).producer).not.toBe(old);
    // Nothing can come under (old, 2) any more, for nobody sends (old, 1) again.
    t.pendings.retry(t.failed('bad'));
    expect(t.nos().at(-1)).toEqual([2, 'bad']);
    expect(t.at(-1).producer).toBe(t.at(2).producer);
  });

  it('[R14] a new producer waits until all before it is answered', async () => {
    const t = tab();
    t.pendings.up();
    for (const text of ['a', 'bad', 'c']) t.say(text);
    await t.refuse(t.at(1), 'forbidden');
    await t.refuse(t.at(2), 'out_of_order', { expected: 2 });
    await t.clock.advance(5_000);
    expect(t.sent).toHaveLength(3);
    t.ack(t.at(0), 1);
    expect(t.nos().slice(3)).toEqual([[1, 'c']]);
  });

  it('[R14] behind a refused one that may be stored all the same, keys are kept', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    await t.drop(); // Both may be on their way.
    t.pendings.up();
    t.say('c');
    await t.refuse(t.at(0), 'forbidden');
    await t.refuse(t.at(1), 'out_of_order', { expected: 1 });
    await t.refuse(t.at(2), 'out_of_order', { expected: 1 });
    await t.clock.advance(5_000);
    // c was answered: it is nowhere. b may come with a: it is not sent under another key.
    expect(t.texts()).toEqual([
      ['a', 'failed'],
      ['b', 'failed'],
      ['c', 'sending'],
    ]);
    expect(t.nos().slice(3)).toEqual([[1, 'c']]);
    expect(t.makers()).toEqual([0, 0, 0, 1]);
    t.ack(t.at(3), 7);
    t.pendings.retry(t.failed('a'));
    expect(t.nos().at(-1)).toEqual([1, 'a']);
    expect(t.makers().at(-1)).toBe(0);
    t.ack(t.at(4), 3);
    t.pendings.onEvent(eventOf({ ...t.at(4), no: 2, body: { text: 'b' } }, 4));
    expect(t.texts()).toEqual([
      ['a', 'sent'],
      ['b', 'sent'],
      ['c', 'sent'],
    ]);
  });

  it('[R14] a final refusal of what has an ack frees nothing, and ends the asking', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    t.ack(t.at(0), 5);
    t.ack(t.at(1), 6);
    await t.drop();
    t.pendings.up();
    await t.refuse(t.at(0), 'forbidden');
    await t.refuse(t.at(1), 'forbidden');
    // They are stored; nobody tells one who may not write any more when they are in the store.
    expect(t.texts()).toEqual([]);
    t.say('c');
    expect(t.nos().at(-1)).toEqual([3, 'c']);
    expect(t.makers()).toEqual([0, 0, 0]);
  });

  it('[R14] keeps a pending whose outcome is unknown and sends it again', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    await t.refuse(t.at(0), 'unknown');
    await t.clock.advance(5_000);
    expect(t.nos()).toEqual([
      [1, 'a'],
      [1, 'a'],
    ]);
    t.ack(t.at(1), 3);
    expect(t.texts()).toEqual([['a', 'sent']]);
  });

  it('[R15] the event settles the pending when the ack was lost', () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.pendings.onEvent(eventOf(t.at(0), 4));
    expect(t.texts()).toEqual([['a', 'sent']]);
  });

  it('a refused message that an earlier attempt had stored is not shown as failed', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    await t.refuse(t.at(0), 'forbidden');
    expect(t.texts()).toEqual([['a', 'failed']]);
    t.pendings.onEvent(eventOf(t.at(0), 4));
    expect(t.texts()).toEqual([['a', 'sent']]);
  });

  it('[R17] drops a pending at persisted, and re-sends acked ones until then', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    t.ack(t.at(0), 5);
    t.ack(t.at(1), 6);
    t.pendings.onPersisted({ type: 'persisted', conversation: DIRECT, epoch: 1, seq: 5 });
    expect(t.texts()).toEqual([['b', 'sent']]);
    await t.drop();
    t.pendings.up();
    expect(t.nos()).toEqual([[2, 'b']]);
    t.pendings.onPersisted({ type: 'persisted', conversation: DIRECT, epoch: 1, seq: 6 });
    expect(t.texts()).toEqual([]);
    t.say('c');
    expect(t.nos().at(-1)).toEqual([3, 'c']);
  });

  it('[R17] sends all again on a new epoch, once, and accepts the old place', () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.ack(t.at(0), 5);
    t.pendings.onEpoch(DIRECT, 2);
    expect(t.nos()).toEqual([
      [1, 'a'],
      [1, 'a'],
    ]);
    t.ack(t.at(1), 5, 1);
    expect(t.sent).toHaveLength(2);
    t.pendings.onPersisted({ type: 'persisted', conversation: DIRECT, epoch: 2, seq: 5 });
    expect(t.texts()).toEqual([]);
  });

  it('[R17] an acked one that is asked about again and refused for now is asked about again', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.ack(t.at(0), 5);
    await t.drop();
    t.pendings.up();
    await t.refuse(t.at(0), 'unavailable', { retry_after_ms: 100 });
    await t.clock.advance(100);
    expect(t.nos()).toEqual([
      [1, 'a'],
      [1, 'a'],
    ]);
  });

  it('[R17] an ack that was under way when the epoch changed does not count in the new one', () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    t.ack(t.at(0), 5);
    t.pendings.onEpoch(DIRECT, 2);
    // b is under way once; its answer is of the old epoch.
    expect(t.nos()).toEqual([
      [1, 'a'],
      [2, 'b'],
      [1, 'a'],
    ]);
    t.ack(t.at(1), 6, 1);
    expect(t.nos().slice(3)).toEqual([[2, 'b']]);
    t.ack(t.at(2), 5, 1);
    t.ack(t.at(3), 6, 1);
    expect(t.sent).toHaveLength(4);
    // The server tells of a place in the epoch of its ack.
    t.pendings.onPersisted({ type: 'persisted', conversation: DIRECT, epoch: 1, seq: 6 });
    expect(t.texts()).toEqual([]);
  });

  it('[R13] what the log has lost and nobody has any more is left with its producer', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    t.say('b');
    t.ack(t.at(0), 5);
    t.ack(t.at(1), 6);
    t.pendings.onPersisted({ type: 'persisted', conversation: DIRECT, epoch: 1, seq: 5 });
    t.pendings.onEpoch(DIRECT, 2);
    await t.refuse(t.at(2), 'out_of_order', { expected: 1 });
    await t.clock.advance(5_000);
    expect(t.nos().slice(2)).toEqual([
      [2, 'b'],
      [1, 'b'],
    ]);
    expect(t.makers()).toEqual([0, 0, 0, 1]);
  });

  it('[R41] waits for retry_after_ms', async () => {
    const t = tab();
    t.pendings.up();
    t.say('a');
    await t.refuse(t.at(0), 'rate_limited', { retry_after_ms: 400 });
    await t.clock.advance(399);
    expect(t.sent).toHaveLength(1);
    await t.clock.advance(1);
    expect(t.sent).toHaveLength(2);
  });

  it('survives a crash: the next tab adopts producer and pendings, a living tab keeps its own', async () => {
    const [storage, locks, clock] = [new MemoryStorage(), new SharedLocks(), new FakeClock()];
    const dying = locks.tab();
    const first = tab(1, storage, dying, clock);
    await first.pendings.adopt();
    first.pendings.up();
    first.say('a');
    first.say('b');
    first.ack(first.at(0), 5);
    await settled();

    const second = tab(2, storage, locks.tab(), clock);
    await second.pendings.adopt();
    second.pendings.up();
    expect(second.sent).toEqual([]);

    dying.die();
    await second.pendings.adopt();
    second.say('c');
    // The dead tab's come first, under their own keys; another producer waits for them.
    expect(second.nos()).toEqual([
      [1, 'a'],
      [2, 'b'],
    ]);
    expect(second.at(0).producer).toBe(first.at(0).producer);
    second.ack(second.at(0), 5);
    second.ack(second.at(1), 6);
    expect(second.nos().at(-1)).toEqual([1, 'c']);
    expect(second.at(2).producer).not.toBe(first.at(0).producer);
  });

  it('goes on when the storage fails', async () => {
    const broken: PendingStorage = {
      all: () => Promise.reject(new Error('denied')),
      put: () => Promise.reject(new Error('full')),
      remove: () => Promise.reject(new Error('denied')),
      clear: () => Promise.reject(new Error('denied')),
    };
    const t = tab(1, broken);
    await t.pendings.adopt();
    t.pendings.up();
    t.say('a');
    t.ack(t.at(0), 1);
    await settled();
    expect(t.texts()).toEqual([['a', 'sent']]);
  });

  it('[R11] never twice, never lost, in order: 60 random runs against a model server', async () => {
    for (let seed = 1; seed <= 60; seed += 1) await randomRun(seed, { slow: false });
  });

  it('[R14] the same with slow appends and refusals that come and go: 200 random runs', async () => {
    for (let seed = 1; seed <= 200; seed += 1) await randomRun(seed, { slow: true });
  });
});

/**
 * A model of the log: one producer's numbers are dense, a key is stored once. Answers get lost at random.
 * `slow`: what was sent on a lost connection may be stored long after, and the right to write comes and goes.
 */
async function randomRun(seed: number, { slow }: { slow: boolean }): Promise<void> {
  const random = seeded(seed * 7919);
  const [storage, locks, clock] = [new MemoryStorage(), new SharedLocks(), new FakeClock()];
  const stored: { producer: string; no: number; text: string }[] = [];
  const last = new Map<string, number>();
  const written: string[] = [];
  const failed = new Set<string>();
  /** Of lost connections, each in its own order. */
  let underWay: Publish[][] = [];
  let barred = false;
  let hold = locks.tab();
  let t = tab(seed, storage, hold, clock);
  await t.pendings.adopt();
  t.pendings.up();
  let served = 0;

  /** Its seq, or 0 for a gap. */
  const append = ({ producer, no, body }: Publish): number => {
    const expected = (last.get(producer) ?? 0) + 1;
    if (no > expected) return 0;
    if (no === expected) {
      stored.push({ producer, no, text: body.text });
      last.set(producer, no);
    }
    return stored.findIndex((s) => s.producer === producer && s.no === no) + 1;
  };
  const serve = async (faults: boolean) => {
    while (served < t.sent.length) {
      const command = t.at(served++);
      const { producer, body } = command;
      const dice = faults ? random() : 1;
      if (dice < 0.1) await t.refuse(command, 'unavailable', { retry_after_ms: 10 });
      else if (barred) await t.refuse(command, 'forbidden');
      else if (body.text.startsWith('bad')) await t.refuse(command, 'too_large');
      else if (slow && dice < 0.2) {
        underWay.push([command]);
        await t.refuse(command, 'unknown');
      } else {
        const seq = append(command);
        if (seq === 0) {
          await t.refuse(command, 'out_of_order', { expected: (last.get(producer) ?? 0) + 1 });
        } else if (stored[seq - 1]?.text !== body.text) await t.refuse(command, 'reused', { seq });
        else if (dice < 0.3) await t.refuse(command, 'unknown');
        else t.ack(command, seq);
      }
      note();
    }
  };
  const note = () => {
    for (const p of t.pendings.list(DIRECT)) if (p.failed) failed.add(p.body.text);
  };
  const renew = async () => {
    const open = t.sent.slice(served).filter((c) => !barred && !c.body.text.startsWith('bad'));
    if (slow) underWay.push(open);
    await t.drop();
    served = 0;
  };
  const arrive = () => {
    const lost = underWay[Math.floor(random() * underWay.length)]?.shift();
    if (lost) append(lost);
    underWay = underWay.filter((link) => link.length > 0);
  };
  /** What the person does about failed ones. */
  const judge = () => {
    for (const p of [...t.pendings.list(DIRECT)]) {
      if (!p.failed) continue;
      if (p.body.text.startsWith('bad')) t.pendings.discard(p.id);
      else t.pendings.retry(p.id);
    }
  };

  for (let step = 0; step < 60; step += 1) {
    const dice = random();
    if (dice < 0.4) {
      const text = `${random() < 0.1 ? 'bad' : 'ok'} ${step}`;
      written.push(text);
      t.say(text);
    } else if (dice < 0.65) await serve(true);
    else if (dice < 0.75) {
      await renew();
      t.pendings.up();
    } else if (dice < 0.8) await clock.advance(1_000);
    else if (dice < 0.85) {
      await settled();
      await renew();
      hold.die();
      hold = locks.tab();
      t = tab(seed * 1000 + step, storage, hold, clock);
      served = 0;
      await t.pendings.adopt();
      t.pendings.up();
    } else if (slow && dice < 0.95) arrive();
    else if (slow && dice < 0.98) barred = !barred;
    else if (slow) judge();
  }
  barred = false;
  for (let i = 0; i < 40; i += 1) {
    await serve(false);
    judge();
    if (slow && random() < 0.5) arrive();
    await clock.advance(31_000);
  }
  while (underWay.length > 0) arrive();
  const good = written.filter((text) => !text.startsWith('bad'));
  const texts = stored.map((s) => s.text);
  expect([...texts].sort(), `seed ${seed}`).toEqual([...good].sort());
  const straight = (text: string) => !failed.has(text);
  expect(texts.filter(straight), `seed ${seed}`).toEqual(good.filter(straight));
  for (const text of written) if (text.startsWith('bad')) expect(failed).toContain(text);
  expect(t.pendings.unsent.get(), `seed ${seed}`).toBe(0);
}
