/** Which events are worth an alert. Owns: that rule. Pure: whoever asks brings the facts. */
import type { Conversation } from '../api/types';
import type { DurableEvent } from '../realtime';
import { mentions } from './mentions';

export type AlertFacts = {
  me: { id: string; username: string };
  conversation: Pick<Conversation, 'kind' | 'muted'> | null;
  /** Somebody looks at the app, in this tab or another one. */
  seen: boolean;
  quietUntil: number;
  now: number;
};

/** What was missed for longer is history, not news: a laptop that wakes up shall not ring for the whole night. */
const LATE_MS = 60_000;

/** Direct messages and mentions, while nobody looks; never what is muted, never one's own, never while not to be disturbed. */
export function isAlert(
  event: DurableEvent,
  facts: AlertFacts,
): event is DurableEvent & { type: 'message' } {
  const { me, conversation, seen, quietUntil, now } = facts;
  if (event.type !== 'message' || event.from === me.id) return false;
  if (seen || quietUntil > now || now - event.ts > LATE_MS) return false;
  if (!conversation || conversation.muted) return false;
  return conversation.kind === 'direct' || mentions(event.body.text, me.username);
}
