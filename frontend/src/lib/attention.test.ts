// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { isLookedAt, onlyOneTab, showAttention } from './attention';

/** The part of Web Locks that is used: shared ones always fit, an exclusive one only if nobody has the name. */
function fakeLocks() {
  const held: string[] = [];
  const run = async (name: string, work: (lock: object) => Promise<void>) => {
    held.push(name);
    await work({});
    held.splice(held.indexOf(name), 1);
  };
  return {
    held,
    query: async () => ({ held: held.map((name) => ({ name })) }),
    request: (
      name: string,
      { ifAvailable }: { ifAvailable?: boolean },
      work: (lock: object | null) => Promise<void>,
    ) => (ifAvailable && held.includes(name) ? work(null) : run(name, work)),
  };
}

let visibility: 'visible' | 'hidden';
const turn = (to: typeof visibility) => {
  visibility = to;
  document.dispatchEvent(new Event('visibilitychange'));
};
beforeEach(() => {
  visibility = 'visible';
  vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() => visibility);
});
afterEach(() => vi.unstubAllGlobals());

it('holds a lock while this tab is in sight, which the other tabs see', async () => {
  const locks = fakeLocks();
  vi.stubGlobal('navigator', { locks });
  const stop = showAttention();
  expect(locks.held).toHaveLength(1);
  turn('hidden');
  await vi.waitFor(() => expect(locks.held).toEqual([]));
  expect(await isLookedAt()).toBe(false);
  locks.held.push('webchat-looking');
  expect(await isLookedAt()).toBe(true);
  locks.held.length = 0;
  turn('visible');
  expect(await isLookedAt()).toBe(true);
  stop();
  await vi.waitFor(() => expect(locks.held).toEqual([]));
});

it('lets one tab alert for a while', async () => {
  vi.stubGlobal('navigator', { locks: fakeLocks() });
  const alert = vi.fn();
  const first = onlyOneTab('sound', 20, alert);
  await onlyOneTab('sound', 20, alert);
  expect(alert).toHaveBeenCalledTimes(1);
  await first;
  await onlyOneTab('sound', 0, alert);
  expect(alert).toHaveBeenCalledTimes(2);
});

it('speaks for this tab alone where there are no locks', async () => {
  vi.stubGlobal('navigator', {});
  showAttention()();
  visibility = 'hidden';
  expect(await isLookedAt()).toBe(false);
  const alert = vi.fn();
  await onlyOneTab('sound', 20, alert);
  expect(alert).toHaveBeenCalledOnce();
});
