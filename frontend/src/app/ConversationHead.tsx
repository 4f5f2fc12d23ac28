import { ChevronLeft, PanelRight, Search } from 'lucide-react';
import type { Conversation } from '../api/types';
import { useChat } from '../lib/chat';
import { isSelf } from '../lib/names';
import { conversationPath, homePath, navigate, type Route } from '../lib/router';
import { texts } from '../lib/texts';
import { isNarrow } from '../lib/useNarrow';
import { usePresence } from '../lib/usePresence';
import { Avatar } from '../ui/Avatar';
import { IconButton } from '../ui/IconButton';
import { Skeleton } from '../ui/Skeleton';
import { HeadMenu } from './HeadMenu';
import { StatusText } from './StatusText';
import './head.css';

type Props = {
  conversation: Conversation | null;
  title: string;
  onDate: () => void;
  route: Extract<Route, { page: 'conversation' }>;
};

export function ConversationHead({ conversation, title, onDate, route }: Props) {
  const { me } = useChat();
  const person =
    conversation?.kind === 'direct' && !isSelf(conversation, me)
      ? (conversation.other?.id ?? null)
      : null;
  const presence = usePresence(person);
  const online = presence.state === 'online' && !presence.stale;
  const details = conversationPath(route.id, { side: route.side, details: !route.details });
  return (
    <header className="head">
      <h1 className="visually-hidden">{title || texts.loading}</h1>
      <IconButton
        className="only-narrow"
        label={texts.back}
        onClick={() => navigate(homePath(route.side))}
      >
        <ChevronLeft size={24} aria-hidden />
      </IconButton>
      <button
        type="button"
        className="head__who"
        aria-expanded={route.details}
        aria-label={`${title}. ${texts.group.details}`}
        onClick={() => navigate(details)}
      >
        {conversation ? (
          <Avatar
            id={conversation.other?.id ?? conversation.id}
            name={title}
            size={40}
            group={conversation.kind === 'group'}
            online={online}
          />
        ) : (
          <Skeleton width={40} height={40} radius="36%" />
        )}
        <span className="head__names">
          <span className="head__title ellipsis">
            {title || <Skeleton width={140} height={14} />}
          </span>
          <StatusText conversation={conversation} presence={presence} person={person} />
        </span>
      </button>
      <IconButton label={texts.search.placeholder} onClick={() => navigate(searchPath(route.id))}>
        <Search size={20} aria-hidden />
      </IconButton>
      <IconButton
        className="only-wide"
        label={texts.group.details}
        aria-pressed={route.details}
        onClick={() => navigate(details)}
      >
        <PanelRight size={20} aria-hidden />
      </IconButton>
      {conversation ? <HeadMenu conversation={conversation} onDate={onDate} /> : null}
    </header>
  );
}

/** On a phone the search takes the place of the conversation; else it opens beside it. */
function searchPath(id: string): string {
  const wide = !isNarrow();
  return wide ? conversationPath(id, { side: 'search', within: id }) : `/?side=search&in=${id}`;
}
