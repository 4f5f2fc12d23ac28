import { useSyncExternalStore } from 'react';
import type { Store } from '../realtime/store';

/** Reads a realtime store in a component; renders again when it changes. */
export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}
