import { describe, expect, it } from 'vitest';
import { BOB, DIRECT, FakeClock, ME } from '../test/fakes';
import { Presence } from './presence';
import { Receipts } from './receipts';
import { Typing } from './typing';
import { Watch } from './watch';
import type { Command, MessageEvent } from './wire';

const P = 'd'.repeat(16);
const CY = '00000000000000c3';
const said = (no: number, from = BOB) =>
  ({ conversation: DIRECT, from, producer: P, no }) as MessageEvent;
const types = (no: number, user = BOB) => ({
  type: 'typing' as const,
  conversation: DIRECT,
  user,
  producer: P,
  no,
});

describe('typing', () => {
  it('[R30] is over after 6 s, or with its message, and one that comes after it is dropped', async () => {
    const clock = new FakeClock();
    const typing = new Typing(clock, ME);
    const store = typing.in(DIRECT);
    typing.apply(types(0));
    typing.apply(types(0, ME));
    expect(store.get()).toEqual([BOB]);
    await clock.advance(5_000);
    typing.apply(types(0));
    await clock.advance(5_999);
    expect(store.get()).toEqual([BOB]);
    await clock.advance(1);
    expect(store.get()).toEqual([]);
    typing.apply(types(0));
    typing.onMessage(said(1));
    expect(store.get()).toEqual([]);
    typing.apply(types(0));
    expect(store.get()).toEqual([]);
    typing.apply(types(1));
    expect(store.get()).toEqual([BOB]);
  });

  it('sends at most one signal per 3 s, and again at once after the message', async () => {
    const clock = new FakeClock();
    const typing = new Typing(clock, ME);
    expect([typing.typed(DIRECT), typing.typed(DIRECT)]).toEqual([true, false]);
    await clock.advance(3_000);
    expect(typing.typed(DIRECT)).toBe(true);
    typing.onMessage(said(1, ME));
    expect(typing.typed(DIRECT)).toBe(true);
  });
});

describe('receipts', () => {
  function make() {
    const clock = new FakeClock();
    const sent: Command[] = [];
    const line = { up: true };
    const receipts = new Receipts(clock, ME, (command) => line.up && sent.push(command) > 0);
    return { clock, sent, line, receipts };
  }

  it('[R31] moves forward only, at most once a second, merging what came between', async () => {
    const { clock, sent, receipts } = make();
    receipts.move(DIRECT, { delivered: 5 });
    for (const read of [5, 7, 6, 9]) receipts.move(DIRECT, { read });
    expect(sent).toEqual([{ type: 'receipt', conversation: DIRECT, delivered: 5 }]);
    await clock.advance(1_000);
    expect(sent.slice(1)).toEqual([
      { type: 'receipt', conversation: DIRECT, delivered: 5, read: 9 },
    ]);
    receipts.move(DIRECT, { read: 3 });
    await clock.advance(5_000);
    expect(sent).toHaveLength(2);
  });

  it('[R31] sends its cursors again after welcome, unless the server has them', async () => {
    const { clock, sent, receipts, line } = make();
    line.up = false;
    receipts.move(DIRECT, { read: 9 });
    await clock.advance(1_000);
    line.up = true;
    receipts.up();
    expect(sent).toHaveLength(1);
    receipts.apply({ type: 'receipt', conversation: DIRECT, user: ME, read: 9 });
    await clock.advance(2_000);
    receipts.up();
    await clock.advance(2_000);
    expect(sent).toHaveLength(1);
  });

  it('[R31] takes the larger of the others’ cursors, live or fetched', () => {
    const { receipts } = make();
    receipts.apply({ type: 'receipt', conversation: DIRECT, user: BOB, delivered: 8 });
    receipts.fetched(DIRECT, [
      { user: BOB, delivered: 6, read: 4 },
      { user: ME, delivered: 9, read: 9 },
    ]);
    receipts.apply({ type: 'receipt', conversation: DIRECT, user: BOB, delivered: 7, read: 3 });
    expect([...receipts.in(DIRECT).get()]).toEqual([[BOB, { delivered: 8, read: 4 }]]);
  });
});

describe('receipts of many', () => {
  const said = (user: string, read: number) => ({
    type: 'receipt' as const,
    conversation: DIRECT,
    user,
    read,
  });

  it('[R31] shows nobody before it knows who is to be waited for', () => {
    const receipts = new Receipts(new FakeClock(), ME, () => true);
    receipts.apply(said(BOB, 9));
    expect(receipts.in(DIRECT).get().size).toBe(0);
    receipts.fetched(DIRECT, [
      { user: BOB, delivered: 3, read: 3 },
      { user: CY, delivered: 0, read: 0 },
    ]);
    expect([...receipts.in(DIRECT).get().values()].map(({ read }) => read)).toEqual([9, 0]);
    receipts.fetched(DIRECT, [{ user: BOB, delivered: 9, read: 9 }]);
    expect([...receipts.in(DIRECT).get().keys()]).toEqual([BOB]);
  });

  it('[R31] shows nobody where the api only counts', () => {
    const receipts = new Receipts(new FakeClock(), ME, () => true);
    receipts.fetched(DIRECT, [{ user: BOB, delivered: 1, read: 1 }]);
    receipts.fetched(DIRECT, null);
    receipts.apply(said(BOB, 9));
    expect(receipts.in(DIRECT).get().size).toBe(0);
  });
});

describe('watch', () => {
  it('sends what is on screen once, debounced, and all again on a new connection', async () => {
    const clock = new FakeClock();
    const sent: Command[] = [];
    const watch = new Watch(clock, (command) => sent.push(command) > 0);
    watch.use('people', BOB, true);
    watch.use('people', BOB, true);
    watch.use('people', BOB, false);
    watch.use('conversations', DIRECT, true);
    await clock.advance(200);
    expect(sent).toEqual([{ type: 'watch', people: [BOB], conversations: [DIRECT] }]);
    watch.use('people', BOB, false);
    watch.use('people', BOB, true);
    await clock.advance(200);
    expect(sent).toHaveLength(1);
    watch.up();
    expect(sent).toHaveLength(2);
    for (let i = 0; i < 250; i += 1) watch.use('people', `p${i}`, true);
    await clock.advance(200);
    expect(sent.at(-1)).toMatchObject({ people: { length: 200 } });
  });
});

describe('presence', () => {
  it('[R32] shows what was told, and stale without a connection', () => {
    const watched: [string, boolean][] = [];
    const presence = new Presence((user, used) => watched.push([user, used]));
    const store = presence.of(BOB);
    const stop = store.subscribe(() => undefined);
    expect(store.get().state).toBe('unknown');
    presence.apply([{ user: BOB, online: true, since: 5 }]);
    expect(store.get()).toEqual({ state: 'online', since: 5, stale: false });
    presence.down();
    expect(store.get()).toEqual({ state: 'online', since: 5, stale: true });
    stop();
    expect(watched).toEqual([
      [BOB, true],
      [BOB, false],
    ]);
  });

  it('[R32] grows old when the server is not asked any more, not while another view of it takes over', async () => {
    const clock = new FakeClock();
    const watch: Watch = new Watch(
      clock,
      () => true,
      (people) => presence.unwatched(people),
    );
    const presence = new Presence((user, used) => watch.use('people', user, used));
    const store = presence.of(BOB);
    let stop = store.subscribe(() => undefined);
    await clock.advance(200);
    presence.apply([{ user: BOB, online: true }]);
    stop();
    stop = store.subscribe(() => undefined);
    await clock.advance(200);
    expect(store.get()).toMatchObject({ state: 'online', stale: false });
    stop();
    await clock.advance(200);
    expect(store.get()).toMatchObject({ state: 'online', stale: true });
  });
});
