/**
 * How this browser tells of messages. Owns: the choices, kept here and shared with the other tabs.
 * Never does: show anything. Talks to: localStorage, Notification. Start reading at: `NotificationSettings`.
 */
import { useEffect, useReducer, useSyncExternalStore } from 'react';

export type NotificationSettings = {
  /** Wanted, and allowed by the browser. */
  shown: boolean;
  sound: boolean;
  /** Do not disturb until then, Unix ms; 0 = not at all. */
  quietUntil: number;
};

const KEY = 'webchat.notifications';
const SOUND_KEY = 'webchat.sound';
const QUIET_KEY = 'webchat.quiet';
/** "Until I turn it off": the last day that a Date knows. */
export const FOREVER = 8_640_000_000_000_000;
/** Browsers take longer timers for none at all. */
const TIMER_MAX_MS = 2_147_483_647;
const listeners = new Set<() => void>();
let cached: NotificationSettings | null = null;

export function notificationSettings(): NotificationSettings {
  const now: NotificationSettings = {
    shown:
      localStorage.getItem(KEY) === 'on' &&
      'Notification' in globalThis &&
      Notification.permission === 'granted',
    sound: localStorage.getItem(SOUND_KEY) !== 'off',
    quietUntil: Number(localStorage.getItem(QUIET_KEY)) || 0,
  };
  if (
    cached?.shown !== now.shown ||
    cached.sound !== now.sound ||
    cached.quietUntil !== now.quietUntil
  )
    cached = now;
  return cached;
}

export function useNotificationSettings(): NotificationSettings {
  return useSyncExternalStore(subscribe, notificationSettings);
}

/** Whether nobody wants to be disturbed now; renders again when that ends. */
export function useQuiet(): boolean {
  const { quietUntil } = useNotificationSettings();
  const [, again] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    const left = quietUntil - Date.now();
    if (left <= 0) return;
    const timer = setTimeout(again, Math.min(left + 1, TIMER_MAX_MS));
    return () => clearTimeout(timer);
  }, [quietUntil]);
  return quietUntil > Date.now();
}

/** Asks the person if needed. Returns whether they are shown now. */
export async function setShown(on: boolean): Promise<boolean> {
  keep(KEY, on ? 'on' : 'off');
  if (!on || !('Notification' in globalThis)) return false;
  const granted = (await Notification.requestPermission()) === 'granted';
  tell();
  return granted;
}

export function setSound(on: boolean): void {
  keep(SOUND_KEY, on ? 'on' : 'off');
}

export function setQuiet(until: number): void {
  keep(QUIET_KEY, String(until));
}

const HOUR_MS = 3_600_000;
const MORNING_HOUR = 8;
export type Quiet = 'off' | 'hour' | 'morning' | 'forever';

/** When a choice that is made now ends. */
export function quietEnd(choice: Quiet, now: number): number {
  switch (choice) {
    case 'off':
      return 0;
    case 'hour':
      return now + HOUR_MS;
    case 'morning': {
      const morning = new Date(now).setHours(MORNING_HOUR, 0, 0, 0);
      return morning > now ? morning : new Date(morning).setDate(new Date(morning).getDate() + 1);
    }
    case 'forever':
      return FOREVER;
  }
}

function keep(key: string, value: string): void {
  localStorage.setItem(key, value);
  tell();
}

function tell(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener('storage', listener);
  return () => {
    listeners.delete(listener);
    removeEventListener('storage', listener);
  };
}
