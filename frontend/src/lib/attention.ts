/**
 * Whether somebody looks at the app in any tab of this browser. Owns: one lock per visible tab; a closed tab lets go by itself.
 * Talks to: Web Locks. Without them (plain http on another machine) each tab speaks for itself.
 */
const LOOKING = 'webchat-looking';
const ALERTING = 'webchat-alerting';

/** From now on this tab holds the lock while it is visible. Returns the function that ends it. */
export function showAttention(): () => void {
  let release: (() => void) | null = null;
  const update = () => {
    release?.();
    release = null;
    if (document.visibilityState !== 'visible' || !navigator.locks) return;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    void navigator.locks.request(LOOKING, { mode: 'shared' }, () => held).catch(() => undefined);
  };
  update();
  document.addEventListener('visibilitychange', update);
  return () => {
    document.removeEventListener('visibilitychange', update);
    release?.();
  };
}

export async function isLookedAt(): Promise<boolean> {
  if (document.visibilityState === 'visible') return true;
  const state = await navigator.locks?.query();
  return state?.held?.some((lock) => lock.name === LOOKING) ?? false;
}

/** Several hidden tabs get the same message: the first one alerts, and the others leave it at that for `ms`. */
export async function onlyOneTab(key: string, ms: number, alert: () => void): Promise<void> {
  if (!navigator.locks) return alert();
  await navigator.locks.request(`${ALERTING}:${key}`, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    alert();
    await new Promise((resolve) => setTimeout(resolve, ms));
  });
}
