import type { Conversation } from '../api/types';
import { texts } from '../lib/texts';
import { spokenTime } from '../lib/time';
import type { PresenceView } from '../realtime';
import { GroupStatus } from './GroupStatus';

type Props = { conversation: Conversation | null; presence: PresenceView; person: string | null };

/** The second line of the head. What is stale is not shown as current. */
export function StatusText({ conversation, presence, person }: Props) {
  if (conversation?.kind === 'group') return <GroupStatus conversation={conversation} />;
  const live = presence.state === 'online' && !presence.stale;
  return (
    <span
      className={live ? 'head__status head__status--live ellipsis' : 'head__status ellipsis'}
      data-testid="status"
    >
      {statusOf(conversation, presence, person, live)}
    </span>
  );
}

function statusOf(
  conversation: Conversation | null,
  presence: PresenceView,
  person: string | null,
  live: boolean,
): string {
  if (!conversation) return '';
  if (person === null || presence.state === 'unknown') return '';
  if (live) return texts.presence.online;
  if (presence.since !== null)
    return texts.presence.lastSeen(spokenTime(presence.since, Date.now()));
  return presence.stale ? '' : texts.presence.offline;
}
