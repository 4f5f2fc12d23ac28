/** What every page has to be: not wider than the window, without layout jumps, and without findings of axe. */
import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';

export const SIZES = [
  { width: 390, height: 844 },
  { width: 1440, height: 900 },
];
const CLS_MAX = 0.02;
const PHONE_MAX = 760;
/** What a finger hits without looking twice. */
const TARGET_MIN = 40;

type Shift = PerformanceEntry & { value: number; hadRecentInput: boolean };

export async function observeShifts(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const state = window as unknown as { shift: number };
    state.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as Shift[]) {
        if (!entry.hadRecentInput) state.shift += entry.value;
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
}

export async function check(page: Page, name: string): Promise<void> {
  await test.step(name, async () => {
    await expect(page.locator('[aria-busy="true"], .skeleton')).toHaveCount(0);
    const wide = await page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll('body *')]
        .filter(
          (element) =>
            element.scrollWidth > 0 && !element.closest('.visually-hidden, pre, .sections nav'),
        )
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
        .map((element) => `${element.tagName}.${element.className}`),
    );
    expect(wide, `${name}: wider than the window`).toEqual([]);
    if ((page.viewportSize()?.width ?? 0) <= PHONE_MAX)
      expect(await page.evaluate(smallTargets, TARGET_MIN), `${name}: hard to hit`).toEqual([]);
    const shift = await page.evaluate(() => (window as unknown as { shift: number }).shift);
    expect(shift, `${name}: layout shift`).toBeLessThan(CLS_MAX);
    const { violations } = await new AxeBuilder({ page }).analyze();
    const found = violations.map(
      (one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 200)).join(' | ')}`,
    );
    expect(found, `${name}: axe`).toEqual([]);
  });
}

/** Runs in the page. Links within a text are as high as its lines; what follows an `::after` around it is as big as that. */
function smallTargets(least: number): string[] {
  const all = document.querySelectorAll<HTMLElement>(
    'button, a[href], input, textarea, [role="menuitem"], [role="option"]',
  );
  const found: string[] = [];
  for (const one of all) {
    const shown = one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!shown || one.closest('.text, .visually-hidden, .skip-link')) continue;
    // A box with its words around it is hit by way of them.
    const target = one.closest('label, .field__box, .search-box') ?? one;
    const { width, height } = target.getBoundingClientRect();
    const around = getComputedStyle(target, '::after');
    const reach = (side: string) =>
      around.position === 'absolute' ? Math.max(0, -Number.parseFloat(side) || 0) : 0;
    const wide = width + reach(around.left) + reach(around.right);
    const high = height + reach(around.top) + reach(around.bottom);
    if (wide < least - 0.5 || high < least - 0.5)
      found.push(`${one.tagName}.${one.className} ${one.textContent} ${wide}×${high}`);
  }
  return found;
}
