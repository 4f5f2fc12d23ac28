import { useCallback, useSyncExternalStore } from 'react';
import { useChat } from './chat';

/** Watches these people (a stable array) and counts who is online now. What is stale counts as nobody. */
export function useOnlineCount(users: readonly string[]): number {
  const chat = useChat();
  const subscribe = useCallback(
    (listener: () => void) => {
      const stops = users.map((user) => chat.presence(user).subscribe(listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
    [chat, users],
  );
  const count = () =>
    users.filter((user) => {
      const { state, stale } = chat.presence(user).get();
      return state === 'online' && !stale;
    }).length;
  return useSyncExternalStore(subscribe, count);
}
