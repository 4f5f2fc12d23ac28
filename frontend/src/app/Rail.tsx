import { Keyboard, MessageCircle, Moon, Search, Settings, Shield, Users } from 'lucide-react';
import type { ReactNode } from 'react';
import type { Me } from '../api/types';
import { useChat } from '../lib/chat';
import { nameOf } from '../lib/names';
import { useQuiet } from '../lib/notifications';
import { conversationPath, homePath, onLink, type Side, useRoute } from '../lib/router';
import { texts } from '../lib/texts';
import { isNarrow } from '../lib/useNarrow';
import { useStore } from '../lib/useStore';
import { Avatar } from '../ui/Avatar';
import { Badge } from '../ui/Badge';
import { RailLink } from './RailLink';
import './rail.css';

type Props = { me: Me; onShortcuts: () => void };

export function Rail({ me, onShortcuts }: Props) {
  const route = useRoute();
  const quiet = useQuiet();
  const unread = useStore(useChat().unread);
  const side = route.page === 'home' || route.page === 'conversation' ? route.side : null;
  const to = (where: Side) =>
    route.page === 'conversation' && !isNarrow()
      ? conversationPath(route.id, { side: where })
      : homePath(where);
  const link = (where: Side, icon: ReactNode) => (
    <RailLink to={to(where)} label={texts.nav[where]} current={side === where} icon={icon}>
      {where === 'chats' && unread.conversations > 0 ? (
        <Badge count={unread.total} label={texts.list.unread(unread.total)} />
      ) : null}
    </RailLink>
  );
  return (
    <nav className="rail" aria-label={texts.nav.label}>
      {link('chats', <MessageCircle size={22} aria-hidden />)}
      {link('people', <Users size={22} aria-hidden />)}
      {link('search', <Search size={22} aria-hidden />)}
      <span className="rail__space" />
      {me.admin ? (
        <RailLink
          to="/admin"
          label={texts.nav.admin}
          short={texts.nav.adminShort}
          current={route.page === 'admin'}
          icon={<Shield size={22} aria-hidden />}
        />
      ) : null}
      <button
        type="button"
        className="rail__link rail__only-wide"
        aria-label={texts.nav.shortcuts}
        title={texts.nav.shortcuts}
        onClick={onShortcuts}
      >
        <Keyboard size={22} aria-hidden />
      </button>
      <RailLink
        to="/settings"
        label={texts.nav.settings}
        current={route.page === 'settings'}
        icon={<Settings size={22} aria-hidden />}
      >
        {quiet ? (
          <span className="rail__mark" role="img" aria-label={texts.nav.quiet}>
            <Moon size={13} aria-hidden />
          </span>
        ) : null}
      </RailLink>
      <a
        className="rail__link rail__me rail__only-wide"
        href="/settings/profile"
        aria-label={texts.settings.sections.profile}
        title={nameOf(me)}
        onClick={(event) => onLink(event, '/settings/profile')}
      >
        <Avatar id={me.id} name={nameOf(me)} size={36} />
      </a>
    </nav>
  );
}
