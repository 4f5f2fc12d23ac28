import { BellOff, Pin } from 'lucide-react';
import type { Conversation } from '../../api/types';
import { useChat } from '../../lib/chat';
import { isSelf, titleOf } from '../../lib/names';
import { conversationPath, onLink } from '../../lib/router';
import { texts } from '../../lib/texts';
import { shortTime } from '../../lib/time';
import { usePresence } from '../../lib/usePresence';
import { Avatar } from '../../ui/Avatar';
import { Badge } from '../../ui/Badge';
import { Preview } from './Preview';

type Props = { conversation: Conversation; current: boolean };

export function ConversationRow({ conversation, current }: Props) {
  const { me } = useChat();
  const { id, kind, other, muted, pinned, unread, marked_unread, last_message, activity_ts } =
    conversation;
  const presence = usePresence(
    kind === 'direct' && !isSelf(conversation, me) ? (other?.id ?? null) : null,
  );
  const title = titleOf(conversation, me);
  const isUnread = unread > 0 || marked_unread;
  const classes = ['row', isUnread ? 'row--unread' : '', muted ? 'row--muted' : ''];
  const path = conversationPath(id);
  const online = presence.state === 'online' && !presence.stale;
  const time = last_message?.ts ?? activity_ts;
  return (
    <a
      className={classes.filter(Boolean).join(' ')}
      href={path}
      aria-current={current ? 'page' : undefined}
      onClick={(event) => onLink(event, path)}
    >
      <Avatar
        id={other?.id ?? id}
        name={title}
        size={48}
        group={kind === 'group'}
        online={online}
      />
      <span className="row__main">
        <span className="row__top">
          <span className="row__name ellipsis">{title}</span>
          {online ? <span className="visually-hidden">{texts.presence.online}</span> : null}
          {muted ? (
            <BellOff className="row__icon" size={14} aria-label={texts.list.muted} role="img" />
          ) : null}
          {time > 0 ? <time className="row__time">{shortTime(time, Date.now())}</time> : null}
        </span>
        <span className="row__bottom">
          <Preview conversation={conversation} current={current} />
          {pinned ? (
            <Pin className="row__icon" size={14} aria-label={texts.list.pinned} role="img" />
          ) : null}
          {isUnread ? (
            <Badge
              count={unread}
              muted={muted}
              label={unread > 0 ? texts.list.unread(unread) : texts.list.markedUnread}
            />
          ) : null}
        </span>
      </span>
    </a>
  );
}
