import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';
import { useApi } from '../api/context';
import type { ProblemCode } from '../api/problem';
import { meKeys, useMe } from '../api/queries/me';
import { AuthPage } from '../features/auth/AuthPage';
import { explain } from '../lib/names';
import { useRoute } from '../lib/router';
import { texts } from '../lib/texts';
import { Toasts } from '../ui/Toasts';
import { Logo } from './Logo';
import { Unreachable } from './Unreachable';
import { Workspace } from './Workspace';

/** Who is there decides: the pages for strangers, or the workspace. */
export function App() {
  const [api, queries] = [useApi(), useQueryClient()];
  const me = useMe();
  const route = useRoute();

  /** Why one has to log in again; told until one does. */
  const [ended, setEnded] = useState<string | null>(null);
  const end = useCallback(
    (why: ProblemCode) => {
      if (!queries.getQueryData(meKeys.me)) return;
      queries.setQueryData(meKeys.me, null);
      setEnded(why === 'disabled' ? explain({ code: why }) : texts.auth.sessionEnded);
    },
    [queries],
  );
  useEffect(() => api.onDenied(end), [api, end]);
  useEffect(() => {
    if (me.data) setEnded(null);
  }, [me.data]);

  // Once it has failed, it says so until there is an answer: not now and then, between two tries.
  const troubled = useRef(false);
  if (me.data !== undefined) troubled.current = false;
  else if (me.failureCount > 0 || me.isError) troubled.current = true;
  let page = troubled.current ? (
    <Unreachable onRetry={() => void me.refetch()} />
  ) : (
    <main className="splash" aria-busy>
      <h1 className="visually-hidden">{texts.loading}</h1>
      <Logo size={64} />
    </main>
  );
  if (me.data) page = <Workspace key={me.data.id} me={me.data} onEnd={end} />;
  else if (me.data === null)
    page = (
      <AuthPage
        mode={route.page === 'register' ? 'register' : 'login'}
        logo={<Logo />}
        ended={ended}
      />
    );
  return (
    <>
      {page}
      <Toasts />
    </>
  );
}
