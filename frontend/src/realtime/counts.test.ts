import { describe, expect, it } from 'vitest';
import type { ReceiptCount, ReceiptsReply } from '../api/types';
import { DIRECT, FakeClock, settled } from '../test/fakes';
import { COUNTED_MAX, Counts, DEBOUNCE_MS, EVERY_MAX_MS, EVERY_MS, readersOf } from './counts';

const GROUP = `8${'0'.repeat(31)}`;
type Question = { id: string; seqs: readonly number[]; signal: AbortSignal };

/** 40 others; `at` says how many have got, and read, what is up to a seq. */
function make() {
  const clock = new FakeClock();
  const asked: Question[] = [];
  const named: ReceiptsReply[] = [];
  const around = { hidden: false, connected: true, listeners: new Set<() => void>() };
  const answer = { of: 40, delivered: 0, read: 0, least: 12, fails: false, never: false };
  const count = (seq: number): ReceiptCount => {
    if (seq === 0) return { seq, delivered: answer.of, read: answer.of };
    const got = (upTo: number) => (seq <= upTo ? answer.of : answer.least);
    return { seq, delivered: got(answer.delivered), read: got(answer.read) };
  };
  const counts = new Counts({
    clock,
    random: () => 0,
    surroundings: {
      hidden: () => around.hidden,
      online: () => true,
      onChange: (listener) => {
        around.listeners.add(listener);
        return () => around.listeners.delete(listener);
      },
    },
    connected: () => around.connected,
    ask: async (id, seqs, signal) => {
      asked.push({ id, seqs, signal });
      if (answer.never) await new Promise(() => undefined);
      if (answer.fails) throw new Error('down');
      return { counts: seqs.map(count) };
    },
    named: (_id, reply) => void named.push(reply),
  });
  const change = () => {
    for (const listener of around.listeners) listener();
  };
  return { clock, asked, around, answer, counts, change };
}

async function watching(seqs: readonly number[]) {
  const made = make();
  made.counts.known(GROUP, true);
  made.counts.look(GROUP, seqs);
  await made.clock.advance(DEBOUNCE_MS);
  return made;
}

describe('counts', () => {
  it('[R31] asks for the newest own messages on screen, and how many there are at all', async () => {
    const many = Array.from({ length: COUNTED_MAX + 5 }, (_, n) => n + 1);
    const { asked } = await watching(many);
    expect(asked.map(({ seqs }) => seqs)).toEqual([[0, ...many.slice(5)]]);
  });

  it('[R31] is delivered, or read, when all have got there; older ones with it', async () => {
    const { counts, answer, clock } = await watching([3, 5, 8]);
    expect(counts.in(GROUP).get()).toMatchObject({ of: 40, all: { delivered: 0, read: 0 } });
    Object.assign(answer, { delivered: 5, read: 3 });
    await clock.advance(EVERY_MS);
    const view = counts.in(GROUP).get();
    expect(view.all).toEqual({ delivered: 5, read: 3 });
    expect([2, 3, 5, 8, 9].map((seq) => readersOf(view, seq))).toEqual([40, 40, 12, 12, null]);
  });

  it('asks nothing where people are named, nor before it is known', async () => {
    const { counts, clock, asked } = make();
    counts.look(DIRECT, [4]);
    await clock.advance(EVERY_MAX_MS);
    counts.known(DIRECT, false);
    await clock.advance(EVERY_MAX_MS);
    expect(asked).toEqual([]);
    counts.known(DIRECT, true);
    await clock.advance(DEBOUNCE_MS);
    expect(asked).toHaveLength(1);
  });

  it('asks once for what changes within a second', async () => {
    const { counts, clock, asked } = make();
    counts.known(GROUP, true);
    for (const seqs of [[1], [1, 2], [1, 2, 3]]) {
      counts.look(GROUP, seqs);
      await clock.advance(DEBOUNCE_MS / 2);
    }
    expect(asked).toEqual([]);
    await clock.advance(DEBOUNCE_MS / 2);
    expect(asked.map(({ seqs }) => seqs)).toEqual([[0, 1, 2, 3]]);
  });

  it('asks rarer and rarer while nothing changes, soon again when something does', async () => {
    const { counts, clock, asked, answer } = await watching([7]);
    const turns = async (ms: number) => {
      const before = asked.length;
      await clock.advance(ms);
      return asked.length - before;
    };
    expect(await turns(EVERY_MS)).toBe(1);
    expect(await turns(EVERY_MS - 1)).toBe(0);
    await clock.advance(10 * EVERY_MAX_MS);
    expect(await turns(EVERY_MAX_MS)).toBe(1);
    counts.look(GROUP, [7]);
    expect(await turns(DEBOUNCE_MS)).toBe(1);
    expect(await turns(EVERY_MS)).toBe(1);
    await clock.advance(10 * EVERY_MAX_MS);
    answer.least = 20;
    const before = asked.length;
    for (let s = 0; asked.length === before && s < EVERY_MAX_MS; s += 1_000) await turns(1_000);
    expect(await turns(EVERY_MS)).toBe(1);
    answer.read = 7;
    answer.delivered = 7;
    await clock.advance(2 * EVERY_MAX_MS);
    expect(await turns(10 * EVERY_MAX_MS)).toBe(0);
  });

  it('asks nothing while the page is hidden or offline, and at once when it is back', async () => {
    const { clock, asked, around, change } = await watching([7]);
    around.hidden = true;
    change();
    await clock.advance(10 * EVERY_MAX_MS);
    expect(asked).toHaveLength(1);
    around.hidden = false;
    change();
    await clock.advance(DEBOUNCE_MS);
    expect(asked).toHaveLength(2);
    around.connected = false;
    await clock.advance(10 * EVERY_MAX_MS);
    expect(asked).toHaveLength(2);
  });

  it('gives up what is under way when it is left, and lets go of everything', async () => {
    const { counts, clock, asked, answer, around } = make();
    answer.never = true;
    counts.known(GROUP, true);
    counts.look(GROUP, [7]);
    await clock.advance(DEBOUNCE_MS);
    expect(asked[0]?.signal.aborted).toBe(false);
    counts.look(DIRECT, []);
    expect(asked[0]?.signal.aborted).toBe(false);
    counts.look(GROUP, []);
    expect(asked[0]?.signal.aborted).toBe(true);
    expect(around.listeners.size).toBe(0);
    await clock.advance(EVERY_MAX_MS);
    expect(asked).toHaveLength(1);
  });

  it('asks again when an answer fails or does not come', async () => {
    const { counts, clock, asked, answer } = make();
    counts.known(GROUP, true);
    counts.look(GROUP, [7]);
    answer.never = true;
    await clock.advance(DEBOUNCE_MS + EVERY_MS);
    expect(asked.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    answer.never = false;
    answer.fails = true;
    await clock.advance(EVERY_MS);
    answer.fails = false;
    await clock.advance(2 * EVERY_MS);
    expect(counts.in(GROUP).get().of).toBe(40);
  });

  it('[R31] starts over when members change, and stops where they get names', async () => {
    const { counts, clock, answer, asked } = await watching([7]);
    Object.assign(answer, { delivered: 7, read: 7 });
    await clock.advance(EVERY_MS);
    expect(counts.in(GROUP).get().all.read).toBe(7);
    Object.assign(answer, { of: 41, delivered: 7, read: 0 });
    counts.known(GROUP, true);
    await clock.advance(DEBOUNCE_MS);
    expect(counts.in(GROUP).get()).toMatchObject({ of: 41, all: { delivered: 7, read: 0 } });
    counts.known(GROUP, false);
    await settled();
    expect(counts.in(GROUP).get().of).toBe(0);
    const before = asked.length;
    await clock.advance(EVERY_MAX_MS);
    expect(asked).toHaveLength(before);
  });
});
