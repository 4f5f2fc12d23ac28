import { expect, it } from 'vitest';
import type { DurableEvent } from '../realtime';
import { type AlertFacts, isAlert } from './alerts';

const NOW = 1_764_000_000_000;
const message = (text: string, more: object = {}): DurableEvent =>
  ({
    type: 'message',
    conversation: 'c',
    epoch: 1,
    seq: 5,
    ordinal: 5,
    from: 'grace',
    producer: 'p',
    no: 1,
    ts: NOW - 1_000,
    body: { text },
    ...more,
  }) as DurableEvent;
const facts: AlertFacts = {
  me: { id: 'ada-id', username: 'ada' },
  conversation: { kind: 'direct', muted: false },
  seen: false,
  quietUntil: 0,
  now: NOW,
};
const group: AlertFacts = { ...facts, conversation: { kind: 'group', muted: false } };

it.each([
  ['a direct message', message('hi'), facts, true],
  ['a mention in a group', message('hi @ada'), group, true],
  ['other talk in a group', message('hi @adam'), group, false],
  ['while somebody looks', message('hi'), { ...facts, seen: true }, false],
  [
    'a muted one',
    message('hi'),
    { ...facts, conversation: { kind: 'direct', muted: true } },
    false,
  ],
  ['one that is not known', message('hi'), { ...facts, conversation: null }, false],
  ['an own one from another device', message('hi', { from: 'ada-id' }), facts, false],
  ['a late one', message('hi', { ts: NOW - 120_000 }), facts, false],
  ['do not disturb', message('hi'), { ...facts, quietUntil: NOW + 1 }, false],
  ['do not disturb is over', message('hi'), { ...facts, quietUntil: NOW - 1 }, true],
  ['no message', message('', { type: 'reaction' }), facts, false],
] as [string, DurableEvent, AlertFacts, boolean][])('%s', (_, event, given, expected) =>
  expect(isAlert(event, given)).toBe(expected),
);
