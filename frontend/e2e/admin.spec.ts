/** Runs first (by its name): whoever registers first at a new server is the administrator. */
import { expect, test } from '@playwright/test';
import { check, observeShifts, SIZES } from './check';
import { newPerson } from './people';

test('the first user administers the server', async ({ browser }) => {
  test.setTimeout(180_000);
  const { page, context, name } = await newPerson(browser, 'admin', { reducedMotion: 'reduce' });
  const admin = page.getByRole('link', { name: 'Administration' });
  test.skip((await admin.count()) === 0, 'the server has users already');
  const other = await newPerson(browser, 'user');

  await observeShifts(page);
  for (const viewport of SIZES) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const section of ['server', 'users', 'reports']) {
        await page.goto(`/admin/${section}`);
        await page.waitForLoadState('networkidle');
        await check(page, `/admin/${section}`);
      }
    }
  }

  await page.goto('/admin/server');
  await page.getByRole('radio', { name: 'Nobody' }).click();
  await expect(page.getByText('Saved')).toBeVisible();
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto('/register');
  await expect(stranger.getByText('Registration is closed')).toBeVisible();
  await stranger.context().close();
  const everybody = page.getByRole('radio', { name: 'Everybody' }).first();
  await everybody.click();
  await expect(everybody).toBeChecked();

  await page.goto('/admin/users');
  await expect(page.getByText(`@${name}`)).toBeVisible();
  await page.getByRole('button', { name: `Actions for ${other.name}` }).click();
  await page.getByRole('menuitem', { name: 'Disable' }).click();
  await expect(page.getByText(`@${other.name} · Disabled`)).toBeVisible();
  await other.context.close();
  await context.close();
});
