/**
 * The address as the owner of "where am I". Owns: parsing and changing it.
 * Never does: hold other state. Talks to: the History API.
 */
import { useSyncExternalStore } from 'react';

export type Side = 'chats' | 'people' | 'search';

export type Route =
  | { page: 'login' | 'register' }
  | { page: 'join'; code: string }
  | { page: 'home'; side: Side; within: string | null }
  | {
      page: 'conversation';
      id: string;
      side: Side;
      at: number | null;
      details: boolean;
      within: string | null;
    }
  | { page: 'settings'; section: string | null }
  | { page: 'admin'; section: string | null };

const CHANGED = 'webchat:route';

export function parse(pathname: string, search: string): Route {
  const [first = '', second = ''] = pathname.split('/').filter(Boolean).map(decodeURIComponent);
  const query = new URLSearchParams(search);
  const asked = query.get('side');
  const side: Side = asked === 'people' || asked === 'search' ? asked : 'chats';
  if (first === 'login' || first === 'register') return { page: first };
  if (first === 'join' && second) return { page: 'join', code: second };
  if (first === 'settings') return { page: 'settings', section: second || null };
  if (first === 'admin') return { page: 'admin', section: second || null };
  if (first === 'c' && second) {
    const at = Number(query.get('at'));
    return {
      page: 'conversation',
      id: second,
      side,
      at: Number.isSafeInteger(at) && at > 0 ? at : null,
      details: query.has('details'),
      within: query.get('in'),
    };
  }
  return { page: 'home', side, within: query.get('in') };
}

let cached: { key: string; route: Route } | null = null;

function current(): Route {
  const key = location.pathname + location.search;
  if (cached?.key !== key) cached = { key, route: parse(location.pathname, location.search) };
  return cached.route;
}

function subscribe(listener: () => void): () => void {
  addEventListener('popstate', listener);
  addEventListener(CHANGED, listener);
  return () => {
    removeEventListener('popstate', listener);
    removeEventListener(CHANGED, listener);
  };
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, current);
}

export function navigate(to: string, how: 'push' | 'replace' = 'push'): void {
  if (how === 'replace') history.replaceState(null, '', to);
  else if (location.pathname + location.search !== to) history.pushState(null, '', to);
  dispatchEvent(new Event(CHANGED));
}

export type ConversationPlace = { at?: number; side?: Side; details?: boolean; within?: string };

export function conversationPath(id: string, place: ConversationPlace = {}): string {
  const query = new URLSearchParams();
  if (place.side && place.side !== 'chats') query.set('side', place.side);
  if (place.at) query.set('at', String(place.at));
  if (place.details) query.set('details', '');
  if (place.within) query.set('in', place.within);
  const text = query.toString();
  return `/c/${id}${text ? `?${text}` : ''}`;
}

/** The whole address of a conversation, or of one message in it, for somebody else. */
export function linkTo(id: string, seq?: number): string {
  return location.origin + conversationPath(id, seq === undefined ? {} : { at: seq });
}

export function homePath(side: Side): string {
  return side === 'chats' ? '/' : `/?side=${side}`;
}

/** For links: the browser's own behaviour for new tabs, ours for a plain click. */
export function onLink(
  event: {
    button: number;
    metaKey: boolean;
    ctrlKey: boolean;
    shiftKey: boolean;
    preventDefault: () => void;
  },
  to: string,
): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  navigate(to);
}
