import { expect, it } from 'vitest';
import { findDay, type Place } from './findDay';

/** A conversation with holes: only some seqs hold a message. */
function talk(places: readonly Place[]) {
  const asked: number[] = [];
  const after = async (seq: number) => {
    asked.push(seq);
    return places.find((place) => place.seq > seq) ?? null;
  };
  return { asked, after };
}
const places = (n: number): Place[] =>
  Array.from({ length: n }, (_, at) => ({ seq: (at + 1) * 3, ts: (at + 1) * 10 }));

it('finds the first place of a day, wherever it begins', async () => {
  const all = places(40);
  for (let start = -5; start <= 400; start += 5) {
    const expected = all.find((place) => place.ts >= start) ?? null;
    expect(await findDay(start, 120, talk(all).after)).toEqual(expected);
  }
});

it('says that there is nothing that late, and nothing at all', async () => {
  expect(await findDay(401, 120, talk(places(40)).after)).toBeNull();
  expect(await findDay(1, 0, talk([]).after)).toBeNull();
  expect(await findDay(1, 50, talk([]).after)).toBeNull();
});

it('asks about as often as the head can be halved', async () => {
  const { asked, after } = talk(places(10_000));
  await findDay(50_000, 30_000, after);
  expect(asked.length).toBeLessThanOrEqual(16);
});
