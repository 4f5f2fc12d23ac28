/** The pictures of the README. Only with WEBCHAT_SCREENSHOTS=<folder>, and against an empty instance. */
import { type Browser, expect, type Page, test } from '@playwright/test';
import { field } from './people';
import { type Scene, scene, talkIn, type Username } from './scene';

const FOLDER = process.env.WEBCHAT_SCREENSHOTS ?? '';
test.skip(FOLDER === '', 'only with WEBCHAT_SCREENSHOTS');

async function enter(
  browser: Browser,
  world: Scene,
  who: Username,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<Page> {
  const storageState = await world.people[who].context.storageState();
  const page = await (await browser.newContext({ ...options, storageState })).newPage();
  await page.goto(`/c/${world.launch}`);
  await field(page).waitFor();
  await page.waitForLoadState('networkidle');
  return page;
}

test('pictures for the README', async ({ browser }) => {
  test.setTimeout(120_000);
  const world = await scene(browser, 'Office plants');
  await talkIn(world.people, world.torture)('max', 'The monstera has a new leaf 🌿');
  await enter(browser, world, 'alan');
  const grace = await enter(browser, world, 'grace');
  await enter(browser, world, 'mei');
  const look = { colorScheme: 'light', reducedMotion: 'reduce' } as const;
  const wide = await enter(browser, world, 'ada', {
    ...look,
    viewport: { width: 1440, height: 900 },
  });
  const phone = await enter(browser, world, 'ada', {
    ...look,
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
  });
  for (const page of [wide, phone]) {
    await expect(page.getByTestId('status')).toContainText('4 online');
    await field(grace).pressSequentially('On');
    await expect(page.getByTestId('typing')).toHaveText('Grace Murray is typing');
    const name = page === wide ? 'webchat' : 'webchat-phone';
    await page.screenshot({ path: `${FOLDER}/${name}.png` });
    await field(grace).fill('');
    await expect(page.getByTestId('typing')).toHaveText('', { timeout: 15_000 });
  }
});
