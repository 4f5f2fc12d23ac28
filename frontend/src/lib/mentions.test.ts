import { expect, it } from 'vitest';
import { mentions } from './mentions';

it.each([
  ['@ada', true],
  ['hi @Ada, are you there?', true],
  ['(@ada)', true],
  ['@ada.', true],
  ['@adam and @ada', true],
  ['@adam', false],
  ['@ada-b', false],
  ['@ada.b', false],
  ['me@ada', false],
  ['ada', false],
  ['', false],
])('%j', (text, expected) => expect(mentions(text, 'ada')).toBe(expected));
