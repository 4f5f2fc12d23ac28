import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { useApi } from '../api/context';
import { meKeys, useMe } from '../api/queries/me';
import { AuthPage } from '../features/auth/AuthPage';
import { useRoute } from '../lib/router';
import { texts } from '../lib/texts';
import { Button } from '../ui/Button';
import { Toasts } from '../ui/Toasts';
import { Logo } from './Logo';
import { Workspace } from './Workspace';

/** Who is there decides: the pages for strangers, or the workspace. */
export function App() {
  const [api, queries] = [useApi(), useQueryClient()];
  const me = useMe();
  const route = useRoute();

  useEffect(
    () =>
      api.onDenied(() => {
        if (queries.getQueryData(meKeys.me)) queries.setQueryData(meKeys.me, null);
      }),
    [api, queries],
  );

  let page = (
    <main className="splash" aria-busy>
      <h1 className="visually-hidden">{texts.loading}</h1>
      <Logo size={64} />
    </main>
  );
  if (me.data) page = <Workspace key={me.data.id} me={me.data} />;
  else if (me.data === null)
    page = <AuthPage mode={route.page === 'register' ? 'register' : 'login'} logo={<Logo />} />;
  else if (me.isError) {
    page = (
      <main className="splash">
        <div className="empty">
          <h1>{texts.offlineError}</h1>
          <Button onClick={() => void me.refetch()}>{texts.retry}</Button>
        </div>
      </main>
    );
  }
  return (
    <>
      {page}
      <Toasts />
    </>
  );
}
