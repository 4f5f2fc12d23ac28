import 'fake-indexeddb/auto';
import { describe, expect, it } from 'vitest';
import { DIRECT } from '../test/fakes';
import { IndexedDbStorage, MemoryStorage, type Pending } from './storage';

const pending = (id: string): Pending => ({
  id,
  order: 1,
  tab: 'd'.repeat(16),
  conversation: DIRECT,
  producer: 'd'.repeat(16),
  no: 1,
  body: { text: id },
  ts: 1,
  ack: null,
  failed: null,
});

describe.each([
  ['memory', () => new MemoryStorage()],
  ['indexeddb', () => new IndexedDbStorage('test')],
])('storage in %s', (_, make) => {
  it('keeps what was put, replaces by id, removes and clears', async () => {
    const storage = make();
    await storage.put([pending('a'), pending('b')]);
    await storage.put([{ ...pending('a'), no: 7 }]);
    await storage.remove(['b', 'never there']);
    expect(await storage.all()).toEqual([{ ...pending('a'), no: 7 }]);
    await storage.clear();
    expect(await storage.all()).toEqual([]);
  });
});

it('indexeddb is there after a reload, and separate for each user', async () => {
  await new IndexedDbStorage('u1').put([pending('a')]);
  expect(await new IndexedDbStorage('u1').all()).toHaveLength(1);
  expect(await new IndexedDbStorage('u2').all()).toEqual([]);
});
