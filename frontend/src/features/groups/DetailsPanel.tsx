import { X } from 'lucide-react';
import type { Conversation, Me } from '../../api/types';
import { texts } from '../../lib/texts';
import { Avatar } from '../../ui/Avatar';
import { IconButton } from '../../ui/IconButton';
import { GroupDetails } from './GroupDetails';
import { NotificationSwitch } from './NotificationSwitch';
import { PersonDetails } from './PersonDetails';
import './details.css';

type Props = { me: Me; conversation: Conversation; title: string; onClose: () => void };

export function DetailsPanel({ me, conversation, title, onClose }: Props) {
  const group = conversation.kind === 'group';
  return (
    <aside className="details" aria-label={texts.group.details}>
      <header className="details__head">
        <h2>{texts.group.details}</h2>
        <IconButton label={texts.close} onClick={onClose}>
          <X size={20} aria-hidden />
        </IconButton>
      </header>
      <div className="details__who">
        <Avatar
          id={conversation.other?.id ?? conversation.id}
          name={title}
          size={88}
          group={group}
        />
        <h3>{title}</h3>
        <p>
          {group
            ? texts.presence.members(conversation.members_count)
            : conversation.other
              ? `@${conversation.other.username}`
              : ''}
        </p>
      </div>
      <NotificationSwitch conversation={conversation} />
      {group ? (
        <GroupDetails me={me} conversation={conversation} />
      ) : (
        <PersonDetails me={me} conversation={conversation} />
      )}
    </aside>
  );
}
