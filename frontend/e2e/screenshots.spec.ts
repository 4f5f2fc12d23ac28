/** Pictures of the main states, to look at. Only with WEBCHAT_SCREENSHOTS=<folder>, and against an empty instance. */
import { type Browser, type BrowserContext, expect, type Page, test } from '@playwright/test';
import { SIZES } from './check';
import { bubble, field } from './people';
import { type Scene, scene, talkIn, type Username } from './scene';
import { states } from './states';

const FOLDER = process.env.WEBCHAT_SCREENSHOTS ?? '';
test.skip(FOLDER === '', 'only with WEBCHAT_SCREENSHOTS');
test.describe.configure({ mode: 'serial' });

let world: Scene;
test.beforeAll(async ({ browser }) => {
  world = await scene(browser);
});

type Options = Parameters<Browser['newContext']>[0];

async function as(browser: Browser, who: Username, options: Options): Promise<Page> {
  const storageState = await world.people[who].context.storageState();
  return (await browser.newContext({ ...options, storageState })).newPage();
}

async function open(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await page.waitForLoadState('networkidle');
  await expect(page.locator('[aria-busy="true"], .skeleton')).toHaveCount(0);
}

for (const viewport of SIZES) {
  for (const colorScheme of ['light', 'dark'] as const) {
    const name = `${viewport.width}-${colorScheme}`;
    const phone = viewport.width < 760;
    const options: Options = {
      viewport,
      colorScheme,
      reducedMotion: 'reduce',
      hasTouch: phone,
      isMobile: phone,
    };

    test(`pictures at ${name}`, async ({ browser }) => {
      test.setTimeout(400_000);
      let number = 0;
      const contexts: BrowserContext[] = [];
      const enter = async (who: Username) => {
        const page = await as(browser, who, options);
        page.setDefaultTimeout(10_000);
        contexts.push(page.context());
        return page;
      };
      const shoot = async (page: Page, what: string) => {
        number += 1;
        const path = `${FOLDER}/${name}/${String(number).padStart(2, '0')}-${what}.png`;
        await page.screenshot({ path });
      };

      const stranger = await (await browser.newContext(options)).newPage();
      contexts.push(stranger.context());
      for (const path of ['login', 'register']) {
        await open(stranger, `/${path}`);
        await stranger.getByLabel('Username').waitFor();
        await shoot(stranger, path);
      }
      await stranger.getByLabel('Username').fill('a!');
      await stranger.getByRole('button', { name: 'Create account' }).click();
      await shoot(stranger, 'register-errors');

      const page = await enter('ada');
      const { launch, torture, direct } = world;
      const paths: [string, string][] = [
        ['list', '/'],
        ['group', `/c/${launch}`],
        ['group-details', `/c/${launch}?details`],
        ['torture', `/c/${torture}`],
        ['torture-details', `/c/${torture}?details`],
        ['direct', `/c/${direct}`],
        ['direct-details', `/c/${direct}?details`],
        ['people', '/?side=people'],
        ['search-empty', '/?side=search'],
        ['search', '/?side=search&q=the'],
        ['profile', '/settings/profile'],
        ['appearance', '/settings/appearance'],
        ['notifications', '/settings/notifications'],
        ['privacy', '/settings/privacy'],
        ['devices', '/settings/sessions'],
        ['account', '/settings/account'],
        ['admin', '/admin/server'],
        ['admin-users', '/admin/users'],
        ['admin-reports', '/admin/reports'],
        ['join-gone', '/join/nothing'],
      ];
      for (const [what, path] of paths) {
        await open(page, path);
        await shoot(page, what);
      }
      await open(page, `/c/${torture}`);
      await page.locator('.timeline').evaluate((one) => one.scrollBy(0, -700));
      await shoot(page, 'torture-above');

      await open(page, `/c/${launch}`);
      const message = bubble(page, 'Soak test');
      await message.click({ button: 'right' });
      await shoot(page, 'message-menu');
      await page.keyboard.press('Escape');
      if (!phone) {
        await message.hover();
        await shoot(page, 'message-hover');
      }
      await page.getByRole('button', { name: 'Emoji' }).click();
      await page.getByRole('searchbox', { name: 'Find emoji' }).waitFor();
      await shoot(page, 'emoji');
      await page.keyboard.press('Escape');
      await message.click({ button: 'right' });
      await page.getByRole('menuitem', { name: 'Reply' }).click();
      await field(page).fill('That is the number I was waiting for.\nTell everybody!');
      await shoot(page, 'replying');
      await page.keyboard.press('Escape');
      await field(page).fill('@');
      await page.getByRole('option').first().waitFor();
      await shoot(page, 'mention');
      await field(page).fill('');

      const grace = await enter('grace');
      await open(grace, `/c/${launch}`);
      await field(grace).pressSequentially('Now');
      await expect(page.getByTestId('typing')).toHaveText(/is typing/);
      await shoot(page, 'typing');
      await field(grace).fill('');
      await field(grace).press('Tab');

      await open(page, '/');
      await page.getByRole('button', { name: 'New group' }).first().click();
      await page.getByRole('dialog').getByRole('searchbox').fill('a');
      await page.getByRole('dialog').getByRole('checkbox').first().check();
      await shoot(page, 'new-group');
      await page.keyboard.press('Escape');

      await open(page, '/');
      const say = talkIn(world.people, direct);
      await say('ada', 'Found them: page 40');
      await say('ada', 'And the appendix');
      const reader = await enter('grace');
      await open(reader, '/');
      await reader.locator('.side .row', { hasText: 'Ada Byron' }).click();
      await reader.getByText('New messages').waitFor();
      await shoot(reader, 'unread-line');

      await open(page, `/c/${direct}`);
      await page.context().setOffline(true);
      await field(page).fill('Written without a connection');
      await field(page).press('Enter');
      await page.locator('.banner').waitFor();
      await shoot(page, 'offline');
      await page.context().setOffline(false);

      const empty = await enter('max');
      await open(empty, '/settings/profile');
      await shoot(empty, 'long-name');
      await states({ world, phone, enter, open, shoot });
      for (const context of contexts) await context.close();
    });
  }
}
