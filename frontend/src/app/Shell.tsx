import { useEffect, useState } from 'react';
import type { Me } from '../api/types';
import { ConversationList } from '../features/conversations/ConversationList';
import { NewGroup } from '../features/groups/NewGroup';
import { ConnectionBanner } from '../features/presence/ConnectionBanner';
import { useRoute } from '../lib/router';
import { texts } from '../lib/texts';
import { useNarrow } from '../lib/useNarrow';
import { Lazy, Part } from '../ui/Lazy';
import { ConversationPage } from './ConversationPage';
import { JoinPage } from './JoinPage';
import { NothingSelected } from './NothingSelected';
import { Rail } from './Rail';
import { Shortcuts } from './Shortcuts';
import { useBadge } from './useBadge';
import { useNotifications } from './useNotifications';
import { useShortcuts } from './useShortcuts';
import './shell.css';

const PeoplePanel = new Part(() => import('../features/people/PeoplePanel'));
const SearchPanel = new Part(() => import('../features/search/SearchPanel'));
const SettingsPage = new Part(() => import('../features/settings/SettingsPage'));
const AdminPage = new Part(() => import('../features/admin/AdminPage'));

/** Later than what one looks at first, and early enough to be there when the network is not. */
const PRELOAD_AFTER_MS = 3_000;

export function Shell({ me }: { me: Me }) {
  const route = useRoute();
  const [dialog, setDialog] = useState<'shortcuts' | 'group' | null>(null);
  const close = () => setDialog(null);
  useBadge();
  useNotifications(me);
  useShortcuts(() => setDialog('shortcuts'));
  useEffect(() => {
    const timer = setTimeout(() => {
      for (const part of [PeoplePanel, SearchPanel, SettingsPage])
        part.load().catch(() => undefined);
    }, PRELOAD_AFTER_MS);
    return () => clearTimeout(timer);
  }, []);

  const side = route.page === 'home' || route.page === 'conversation' ? route.side : 'chats';
  const within = route.page === 'home' || route.page === 'conversation' ? route.within : null;
  const stranger = route.page === 'login' || route.page === 'register';
  const view = route.page === 'home' || stranger ? 'list' : 'main';
  const narrow = useNarrow();
  const open = route.page === 'conversation' ? route.id : null;
  return (
    <div className="shell" data-view={view}>
      <a className="skip-link" href="#main">
        {texts.skip}
      </a>
      <ConnectionBanner />
      <Rail me={me} onShortcuts={() => setDialog('shortcuts')} />
      {/* biome-ignore lint/a11y/useAriaPropsSupportedByRole: both roles take a name */}
      <div
        className="side"
        role={narrow && view === 'list' ? 'main' : 'complementary'}
        aria-label={texts.nav[side]}
      >
        {side === 'people' ? <Lazy part={PeoplePanel} props={{ me }} /> : null}
        {side === 'search' ? (
          <Lazy key={within ?? ''} part={SearchPanel} props={{ me, within }} />
        ) : null}
        {side === 'chats' ? (
          <ConversationList open={open} onNewGroup={() => setDialog('group')} />
        ) : null}
      </div>
      <main className="main" id="main" tabIndex={-1}>
        {route.page === 'conversation' ? (
          <ConversationPage key={route.id} me={me} route={route} />
        ) : null}
        {route.page === 'settings' ? (
          <Lazy part={SettingsPage} props={{ me, section: route.section }} />
        ) : null}
        {route.page === 'admin' ? (
          <Lazy part={AdminPage} props={{ me, section: route.section }} />
        ) : null}
        {route.page === 'join' ? <JoinPage code={route.code} /> : null}
        {view === 'list' ? <NothingSelected /> : null}
      </main>
      {dialog === 'shortcuts' ? <Shortcuts onClose={close} /> : null}
      {dialog === 'group' ? <NewGroup me={me} onClose={close} /> : null}
    </div>
  );
}
