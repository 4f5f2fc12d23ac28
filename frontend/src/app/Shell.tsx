import { lazy, Suspense, useState } from 'react';
import type { Me } from '../api/types';
import { ConversationList } from '../features/conversations/ConversationList';
import { NewGroup } from '../features/groups/NewGroup';
import { ConnectionBanner } from '../features/presence/ConnectionBanner';
import { useRoute } from '../lib/router';
import { texts } from '../lib/texts';
import { useNarrow } from '../lib/useNarrow';
import { ConversationPage } from './ConversationPage';
import { JoinPage } from './JoinPage';
import { NothingSelected } from './NothingSelected';
import { Rail } from './Rail';
import { Shortcuts } from './Shortcuts';
import { useBadge } from './useBadge';
import { useNotifications } from './useNotifications';
import { useShortcuts } from './useShortcuts';
import './shell.css';

const PeoplePanel = lazy(() => import('../features/people/PeoplePanel'));
const SearchPanel = lazy(() => import('../features/search/SearchPanel'));
const SettingsPage = lazy(() => import('../features/settings/SettingsPage'));
const AdminPage = lazy(() => import('../features/admin/AdminPage'));

export function Shell({ me }: { me: Me }) {
  const route = useRoute();
  const [dialog, setDialog] = useState<'shortcuts' | 'group' | null>(null);
  const close = () => setDialog(null);
  useBadge();
  useNotifications(me);
  useShortcuts(() => setDialog('shortcuts'));

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
        <Suspense fallback={null}>
          {side === 'people' ? <PeoplePanel me={me} /> : null}
          {side === 'search' ? <SearchPanel key={within ?? ''} me={me} within={within} /> : null}
          {side === 'chats' ? (
            <ConversationList open={open} onNewGroup={() => setDialog('group')} />
          ) : null}
        </Suspense>
      </div>
      <main className="main" id="main" tabIndex={-1}>
        <Suspense fallback={null}>
          {route.page === 'conversation' ? (
            <ConversationPage key={route.id} me={me} route={route} />
          ) : null}
          {route.page === 'settings' ? <SettingsPage me={me} section={route.section} /> : null}
          {route.page === 'admin' ? <AdminPage me={me} section={route.section} /> : null}
          {route.page === 'join' ? <JoinPage code={route.code} /> : null}
          {view === 'list' ? <NothingSelected /> : null}
        </Suspense>
      </main>
      {dialog === 'shortcuts' ? <Shortcuts onClose={close} /> : null}
      {dialog === 'group' ? <NewGroup me={me} onClose={close} /> : null}
    </div>
  );
}
