import { useSyncExternalStore } from 'react';
import type { PresenceView } from '../realtime';
import { useChat } from './chat';

const UNKNOWN: PresenceView = { state: 'unknown', since: null, stale: true };
const nothing = () => () => undefined;
const unknown = () => UNKNOWN;

/** Watches one person; null watches nobody. Stale knowledge is never shown as current. */
export function usePresence(user: string | null): PresenceView {
  const chat = useChat();
  const store = user === null ? null : chat.presence(user);
  return useSyncExternalStore(store?.subscribe ?? nothing, store?.get ?? unknown);
}
