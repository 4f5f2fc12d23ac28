import { expect, it } from 'vitest';
import { contextOf } from './contextOf';

it('begins at a word a little before what was found', () => {
  const [before, match, after] = contextOf('On my desk. I will bring them tonight', 'them');
  expect([before, match, after]).toEqual(['…my desk. I will bring ', 'them', ' tonight']);
  expect(contextOf('Every ack is checked against the log', 'the')[0]).toBe(
    '…ack is checked against ',
  );
});

it('shows all of it where it is short, and some of it where there are no spaces', () => {
  expect(contextOf('bring them', 'them')).toEqual(['bring ', 'them', '']);
  expect(contextOf(`${'中'.repeat(40)}文`, '文')[0]).toBe(`…${'中'.repeat(24)}`);
  expect(contextOf('nothing here', 'there')).toEqual(['nothing here', '', '']);
});
