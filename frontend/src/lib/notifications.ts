/** Whether this browser shows notifications. Owns: the choice, kept here. Talks to: localStorage, Notification. */
const KEY = 'webchat.notifications';

export function notificationsOn(): boolean {
  return (
    localStorage.getItem(KEY) === 'on' &&
    'Notification' in window &&
    Notification.permission === 'granted'
  );
}

/** Asks the person if needed. Returns whether they are on now. */
export async function setNotifications(on: boolean): Promise<boolean> {
  localStorage.setItem(KEY, on ? 'on' : 'off');
  if (!on || !('Notification' in window)) return false;
  return (await Notification.requestPermission()) === 'granted';
}
