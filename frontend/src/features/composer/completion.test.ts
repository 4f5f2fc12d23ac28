import { expect, it } from 'vitest';
import { completionAt, insertAt, replaceShortcode } from './completion';

const ada = { id: '1', username: 'ada', display_name: 'Ada Lovelace' };
const bob = { id: '2', username: 'bob', display_name: 'Bob' };

it('offers people by username and by any word of their name', () => {
  expect(completionAt('hi @lo', 6, [ada, bob])?.choices.map((choice) => choice.insert)).toEqual([
    '@ada ',
  ]);
  expect(completionAt('hi @', 4, [ada, bob])?.choices).toHaveLength(2);
});

it('offers nothing inside an address or word', () => {
  expect(completionAt('me@a', 4, [ada])).toBeNull();
  expect(completionAt('10:30', 5, [])).toBeNull();
});

it('offers emoji from two letters on', () => {
  expect(completionAt(':t', 2, [])).toBeNull();
  expect(completionAt(':tad', 4, [])?.choices[0]?.label).toBe('🎉');
});

it('puts the choice in and keeps what follows', () => {
  expect(insertAt('hi @a!', 3, 5, '@ada ')).toEqual({ text: 'hi @ada !', caret: 8 });
});

it('turns a finished shortcode into its emoji', () => {
  expect(replaceShortcode('yay :tada:', 10)).toEqual({ text: 'yay 🎉', caret: 6 });
  expect(replaceShortcode('a:b:', 4)).toBeNull();
});
