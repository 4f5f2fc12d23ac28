/** Every page at two sizes, dark and light: no overflow, no layout jump, axe finds nothing. And the size of the script. */

import { gzipSync } from 'node:zlib';
import { expect, test } from '@playwright/test';
import { check, observeShifts, SIZES } from './check';
import { bubble, newPerson, say, talkTo } from './people';

const SCRIPT_MAX = 200 * 1024;
const LINK = `https://example.org/${'a-very-long-path/'.repeat(12)}`;

for (const viewport of SIZES) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test(`pages at ${viewport.width}×${viewport.height}, ${colorScheme}`, async ({ browser }) => {
      test.setTimeout(240_000);
      const phone = viewport.width < 760;
      const touch = { hasTouch: phone, isMobile: phone };
      const options = { viewport, colorScheme, reducedMotion: 'reduce' as const, ...touch };
      const visitor = await browser.newContext(options);
      const stranger = await visitor.newPage();
      await observeShifts(stranger);
      for (const path of ['/login', '/register']) {
        await stranger.goto(path);
        await stranger.getByLabel('Username').waitFor();
        await check(stranger, path);
      }
      await visitor.close();

      const ada = await newPerson(browser, 'ada', options);
      const bob = await newPerson(browser, 'bob');
      const { page } = ada;
      await observeShifts(page);
      await page.goto('/');
      await page.getByText('No conversations yet').waitFor();
      await check(page, 'empty list');
      await talkTo(page, bob.name);
      const place = new URL(page.url()).pathname;
      await say(page, 'Hello');
      await say(page, '**Bold** and `code`', 'Bold and code');
      await say(page, LINK);
      await say(page, '```\nlet x = 1;\n```', 'let x = 1;');
      await say(page, '> quoted\nanswer', 'answer');
      await say(page, '🎉');
      const paths = ['', '?side=people', '?side=search&q=hello'].map((query) => `/${query}`);
      paths.push(place, `${place}?details`, '/admin', '/join/nothing');
      for (const section of [
        'profile',
        'appearance',
        'notifications',
        'privacy',
        'sessions',
        'account',
      ]) {
        paths.push(`/settings/${section}`);
      }
      for (const path of paths) {
        await page.goto(path);
        await expect(page.locator('.shell')).toBeVisible();
        await page.waitForLoadState('networkidle');
        await check(page, path);
      }
      await page.goto(place);
      await bubble(page, 'Hello').first().click({ button: 'right' });
      await check(page, 'message menu');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Chat actions' }).last().click();
      await check(page, 'chat menu');
      await page.getByRole('menuitem', { name: 'Jump to date' }).click();
      await check(page, 'jump to date');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Emoji' }).click();
      await page.getByRole('searchbox', { name: 'Find emoji' }).waitFor();
      await check(page, 'emoji');
      await page.goto('/');
      await page.getByRole('button', { name: 'New group' }).first().click();
      await check(page, 'new group');
      await ada.context.close();
      await bob.context.close();
    });
  }
}

test('the first load has at most 200 KB of script', async ({ browser }) => {
  const ada = await newPerson(browser, 'ada');
  // A context of its own: what the first visit cached has no body here.
  const storageState = await ada.context.storageState();
  const fresh = await browser.newContext({ storageState });
  const page = await fresh.newPage();
  const sizes: Promise<number>[] = [];
  page.on('response', (response) => {
    if (response.request().resourceType() !== 'script') return;
    sizes.push(response.body().then((body) => gzipSync(body).length));
  });
  await page.goto('/');
  await page.getByText('No conversations yet').waitFor();
  const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  expect(total).toBeGreaterThan(0);
  expect(total).toBeLessThanOrEqual(SCRIPT_MAX);
  await fresh.close();
  await ada.context.close();
});
