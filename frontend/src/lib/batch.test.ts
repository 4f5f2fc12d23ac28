import { expect, it, vi } from 'vitest';
import { batched } from './batch';

it('loads what is asked for together with one call, at most `max` keys each', async () => {
  const load = vi.fn(
    async (keys: string[]) => new Map(keys.map((key) => [key, key.toUpperCase()])),
  );
  const get = batched(load, 2);
  expect(await Promise.all(['a', 'a', 'b', 'c'].map(get))).toEqual(['A', 'A', 'B', 'C']);
  expect(load.mock.calls).toEqual([[['a', 'b']], [['c']]]);
  await get('a');
  expect(load).toHaveBeenCalledTimes(3);
});

it('passes a failure to everybody who asked, and tries again the next time', async () => {
  const load = vi.fn(async () => new Map([['a', 1]]));
  load.mockRejectedValueOnce(new Error('down'));
  const get = batched<number>(load, 10);
  await expect(Promise.all([get('a'), get('b')])).rejects.toThrow('down');
  expect(await get('a')).toBe(1);
});
