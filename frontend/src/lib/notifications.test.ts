import { expect, it } from 'vitest';
import { FOREVER, quietEnd } from './notifications';

const at = (day: number, hour: number, minute = 0) =>
  new Date(2026, 2, day, hour, minute).getTime();

it('ends an hour of quiet after an hour, and "off" at once', () => {
  expect(quietEnd('hour', at(3, 14))).toBe(at(3, 15));
  expect(quietEnd('off', at(3, 14))).toBe(0);
  expect(quietEnd('forever', at(3, 14))).toBe(FOREVER);
});

it('ends a night of quiet at the next eight in the morning', () => {
  expect(quietEnd('morning', at(3, 23))).toBe(at(4, 8));
  expect(quietEnd('morning', at(4, 2))).toBe(at(4, 8));
  expect(quietEnd('morning', at(4, 8))).toBe(at(5, 8));
  expect(quietEnd('morning', at(31, 22))).toBe(new Date(2026, 3, 1, 8).getTime());
});
