import { CloudOff, LoaderCircle, TriangleAlert } from 'lucide-react';
import { useEffect, useState } from 'react';
import { useChat } from '../../lib/chat';
import { texts } from '../../lib/texts';
import { clockTime } from '../../lib/time';
import { useStore } from '../../lib/useStore';
import { useStuck } from './useStuck';

/** A short interruption heals before anybody would read about it. */
const QUIET_MS = 1_500;

export function ConnectionBanner() {
  const chat = useChat();
  const state = useStore(chat.connection);
  const away = state.phase !== 'connected';
  const [shown, setShown] = useState(false);
  const stuck = useStuck(!away);
  useEffect(() => {
    if (!away) return setShown(false);
    const timer = setTimeout(() => setShown(true), QUIET_MS);
    return () => clearTimeout(timer);
  }, [away]);

  if (!away) {
    return stuck ? (
      <div className="banner" role="status">
        <LoaderCircle size={16} className="spin" aria-hidden />
        <span>{texts.connection.stuck}</span>
      </div>
    ) : null;
  }
  if (!shown) return null;
  if (state.phase === 'disconnected' && state.reason === 'refused') {
    return (
      <div className="banner" role="alert">
        <TriangleAlert size={16} aria-hidden />
        <span>{texts.connection.refused}</span>
        <button type="button" onClick={() => location.reload()}>
          {texts.connection.reload}
        </button>
      </div>
    );
  }
  const offline = state.phase === 'disconnected' && state.reason === 'offline';
  return (
    <div className="banner" role="status">
      {offline ? (
        <CloudOff size={16} aria-hidden />
      ) : (
        <LoaderCircle size={16} className="spin" aria-hidden />
      )}
      <span>{wording(offline, state.lastContact)}</span>
      {offline ? null : (
        <button type="button" onClick={() => chat.reconnect()}>
          {texts.connection.tryNow}
        </button>
      )}
    </div>
  );
}

function wording(offline: boolean, lastContact: number | null): string {
  const { connection } = texts;
  if (lastContact === null) return offline ? connection.offlineFromStart : connection.connecting;
  const since = clockTime(lastContact);
  return offline ? connection.offline(since) : connection.reconnecting(since);
}
