/**
 * Light, dark or as the system says. Owns: the choice (kept in this browser) and `data-theme` on the root element.
 * index.html sets the attribute before the first paint with the same rule. Talks to: localStorage, matchMedia.
 */
import { useSyncExternalStore } from 'react';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'webchat.theme';
const listeners = new Set<() => void>();
const systemDark = matchMedia('(prefers-color-scheme: dark)');

export function theme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}

export function setTheme(value: Theme): void {
  if (value === 'system') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, value);
  apply();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, theme);
}

/** Follows the system and the other tabs from now on. */
export function startTheme(): void {
  systemDark.addEventListener('change', apply);
  addEventListener('storage', (event) => {
    if (event.key === KEY) apply();
  });
  apply();
}

function apply(): void {
  const value = theme();
  const dark = value === 'dark' || (value === 'system' && systemDark.matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  document
    .querySelector('meta[name=theme-color]')
    ?.setAttribute('content', dark ? '#141a17' : '#ffffff');
  for (const listener of listeners) listener();
}
