import { Laptop, Smartphone } from 'lucide-react';
import { useRevokeSession, useSessions } from '../../api/queries/me';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { spokenTime } from '../../lib/time';
import { Button } from '../../ui/Button';
import { LoadFailed } from '../../ui/LoadFailed';
import { Skeleton } from '../../ui/Skeleton';
import { toast } from '../../ui/Toasts';
import { deviceName, isHandheld } from './deviceName';

export function Sessions() {
  const sessions = useSessions();
  const revoke = useRevokeSession();
  const end = (id: string | null) =>
    revoke.mutate(id, {
      onSuccess: () => toast(texts.settings.revoked),
      onError: (failure) => toast(explain(failure)),
    });
  const others = sessions.data?.filter((session) => !session.current).length ?? 0;
  return (
    <div className="card">
      <p className="hint">{texts.settings.sessionsHint}</p>
      {sessions.isError && !sessions.data ? (
        <LoadFailed text={explain(sessions.error)} onRetry={() => void sessions.refetch()} />
      ) : null}
      {sessions.isPending ? <Skeleton width="100%" height={60} /> : null}
      <ul>
        {sessions.data?.map((session) => (
          <li key={session.id} className="card__line">
            <span className="card__icon" aria-hidden>
              {isHandheld(session.user_agent) ? <Smartphone size={20} /> : <Laptop size={20} />}
            </span>
            <span className="card__text">
              {deviceName(session.user_agent)}
              <small className={session.current ? 'card__good' : undefined}>
                {session.current
                  ? texts.settings.thisDevice
                  : texts.settings.lastUsed(spokenTime(session.last_used_at, Date.now()))}
              </small>
            </span>
            {session.current ? null : (
              <Button small onClick={() => end(session.id)}>
                {texts.settings.revoke}
              </Button>
            )}
          </li>
        ))}
      </ul>
      {others > 0 ? (
        <Button variant="quiet" wide onClick={() => end(null)}>
          {texts.settings.revokeOthers}
        </Button>
      ) : null}
    </div>
  );
}
