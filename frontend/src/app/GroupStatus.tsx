import { useMemo } from 'react';
import { useMembers } from '../api/queries/conversations';
import type { Conversation } from '../api/types';
import { useChat } from '../lib/chat';
import { texts } from '../lib/texts';
import { useOnlineCount } from '../lib/useOnlineCount';

/** Above this nobody reads who is online from a number, and watching them all would cost every node. */
const WATCHED_MAX = 50;

/** How many are in the group, and how many of them are here now. */
export function GroupStatus({ conversation }: { conversation: Conversation }) {
  const { me } = useChat();
  const { id, members_count: count } = conversation;
  const small = count <= WATCHED_MAX;
  const members = useMembers(id, small);
  const others = useMemo(
    () =>
      (small ? (members.data?.pages ?? []) : [])
        .flatMap((page) => page.members.map((member) => member.user.id))
        .filter((user) => user !== me),
    [members.data, small, me],
  );
  const online = useOnlineCount(others);
  return (
    <span className="head__status ellipsis" data-testid="status">
      {online > 0 ? texts.presence.onlineOf(count, online + 1) : texts.presence.members(count)}
    </span>
  );
}
