import { useSyncExternalStore } from 'react';

/** The width below which list and conversation are two screens; the style sheets use the same. */
const narrow = matchMedia('(max-width: 760px)');

function subscribe(listener: () => void): () => void {
  narrow.addEventListener('change', listener);
  return () => narrow.removeEventListener('change', listener);
}

export function isNarrow(): boolean {
  return narrow.matches;
}

export function useNarrow(): boolean {
  return useSyncExternalStore(subscribe, isNarrow);
}
