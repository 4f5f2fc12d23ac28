/** What every page has to be: not wider than the window, without layout jumps, and without findings of axe. */
import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';

export const SIZES = [
  { width: 390, height: 844 },
  { width: 1440, height: 900 },
];
const CLS_MAX = 0.02;

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
    const shift = await page.evaluate(() => (window as unknown as { shift: number }).shift);
    expect(shift, `${name}: layout shift`).toBeLessThan(CLS_MAX);
    const { violations } = await new AxeBuilder({ page }).analyze();
    const found = violations.map(
      (one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 200)).join(' | ')}`,
    );
    expect(found, `${name}: axe`).toEqual([]);
  });
}
