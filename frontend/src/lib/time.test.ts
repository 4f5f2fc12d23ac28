import { expect, it } from 'vitest';
import { dayInput, dayOf, spokenFuture } from './time';

it('reads the day of a date field as it writes it, in local time', () => {
  const evening = new Date(2026, 2, 4, 23, 59).getTime();
  expect(dayInput(evening)).toBe('2026-03-04');
  expect(dayOf('2026-03-04')).toBe(new Date(2026, 2, 4).getTime());
});

it('knows what is no day', () => {
  expect(dayOf('')).toBeNull();
  expect(dayOf('2026-02-30')).toBeNull();
  expect(dayOf('yesterday')).toBeNull();
});

it('names the day of a time to come only if it is another one', () => {
  const now = new Date(2026, 2, 4, 20, 0).getTime();
  expect(spokenFuture(new Date(2026, 2, 4, 21, 5).getTime(), now)).toBe('21:05');
  expect(spokenFuture(new Date(2026, 2, 5, 8, 0).getTime(), now)).toBe('Thu 08:00');
});
