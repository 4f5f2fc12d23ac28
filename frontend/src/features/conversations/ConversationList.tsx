import {
  CloudOff,
  MessageCirclePlus,
  MessagesSquare,
  SearchX,
  UserPlus,
  Users,
} from 'lucide-react';
import { useState } from 'react';
import { useChat } from '../../lib/chat';
import { titleOf } from '../../lib/names';
import { homePath, navigate } from '../../lib/router';
import { texts } from '../../lib/texts';
import { useRetry } from '../../lib/useRetry';
import { useStore } from '../../lib/useStore';
import { Button } from '../../ui/Button';
import { EmptyState } from '../../ui/EmptyState';
import { IconButton } from '../../ui/IconButton';
import { Menu, type MenuPlace } from '../../ui/Menu';
import { SearchBox } from '../../ui/SearchBox';
import { ConversationItem } from './ConversationItem';
import { ListSkeleton } from './ListSkeleton';
import '../../ui/rows.css';

type Props = { open: string | null; onNewGroup: () => void };

export function ConversationList({ open, onNewGroup }: Props) {
  const chat = useChat();
  const state = useStore(chat.conversations);
  const [filter, setFilter] = useState('');
  const [hiddenToo, setHiddenToo] = useState(false);
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const needle = filter.trim().toLowerCase();
  const hidden = state.list.filter((one) => one.hidden);
  const list = state.list.filter((one) =>
    needle
      ? titleOf(one, chat.me).toLowerCase().includes(needle)
      : hiddenToo || !one.hidden || one.id === open,
  );
  // After a reconnection the client does that itself.
  const { phase: connection } = useStore(chat.connection);
  const failed = state.phase === 'failed' && connection === 'connected';
  useRetry(failed, () => void chat.refreshConversations());
  const searchAll = () => navigate(`/?side=search&q=${encodeURIComponent(filter.trim())}`);

  return (
    <>
      <div className="side__head">
        <h1>{texts.list.title}</h1>
        <IconButton label={texts.group.newTitle} onClick={onNewGroup}>
          <Users size={20} aria-hidden />
        </IconButton>
        <IconButton
          label={texts.list.new}
          aria-haspopup="menu"
          aria-expanded={menu !== null}
          onClick={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            setMenu({ x: box.right - 208, y: box.bottom + 4 });
          }}
        >
          <MessageCirclePlus size={21} aria-hidden />
        </IconButton>
      </div>
      <div className="side__tools">
        <SearchBox
          label={texts.list.filter}
          value={filter}
          onChange={setFilter}
          onKeyDown={(event) => (event.key === 'Enter' && needle ? searchAll() : undefined)}
        />
      </div>
      <div className="side__scroll">
        {state.phase === 'loading' ? <ListSkeleton rows={7} /> : null}
        <ul>
          {list.map((one) => (
            <ConversationItem key={one.id} conversation={one} current={one.id === open} />
          ))}
        </ul>
        {needle && state.phase === 'ready' ? (
          <>
            {list.length === 0 ? (
              <EmptyState
                icon={<SearchX size={26} />}
                title={texts.list.noMatch}
                text={texts.list.noMatchText}
              />
            ) : null}
            <Button variant="quiet" wide onClick={searchAll}>
              {texts.list.searchMessages(filter.trim())}
            </Button>
          </>
        ) : null}
        {!needle && hidden.length > 0 && !hiddenToo ? (
          <Button variant="quiet" small wide onClick={() => setHiddenToo(true)}>
            {texts.list.showHidden(hidden.length)}
          </Button>
        ) : null}
        {!needle && state.phase === 'ready' && state.list.length === 0 ? (
          <EmptyState
            icon={<MessagesSquare size={28} />}
            title={texts.list.emptyTitle}
            text={texts.list.emptyText}
          >
            <Button variant="primary" onClick={() => navigate(homePath('people'))}>
              {texts.list.findPeople}
            </Button>
            <Button onClick={onNewGroup}>{texts.list.newGroup}</Button>
          </EmptyState>
        ) : null}
        {state.phase === 'failed' ? (
          <EmptyState
            icon={<CloudOff size={26} />}
            title={texts.list.failed}
            text={texts.offlineError}
          >
            <Button onClick={() => void chat.refreshConversations()}>{texts.retry}</Button>
          </EmptyState>
        ) : null}
      </div>
      {menu ? (
        <Menu
          label={texts.list.new}
          place={menu}
          onClose={() => setMenu(null)}
          entries={[
            {
              label: texts.list.findPeople,
              icon: <UserPlus size={18} aria-hidden />,
              onSelect: () => navigate(homePath('people')),
            },
            {
              label: texts.list.newGroup,
              icon: <Users size={18} aria-hidden />,
              onSelect: onNewGroup,
            },
          ]}
        />
      ) : null}
    </>
  );
}
