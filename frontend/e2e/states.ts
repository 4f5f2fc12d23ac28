/**
 * States that one meets rarely, for pictures. Owns: how each is brought about. Needs the people of `scene`, and may be
 * called once per picture size. Talks to: the HTTP api as its people, and the page.
 */
import { expect, type Page } from '@playwright/test';
import { bubble, field } from './people';
import { direct, group, type Scene, talkIn, type Username } from './scene';

export type Studio = {
  world: Scene;
  phone: boolean;
  enter: (who: Username) => Promise<Page>;
  open: (page: Page, path: string) => Promise<void>;
  shoot: (page: Page, what: string) => Promise<void>;
};

export async function states(studio: Studio): Promise<void> {
  await unread(studio);
  await menus(studio);
  await dialogs(studio);
  await failures(studio);
  await administration(studio);
}

/** Hundreds of new messages, drafts, and the pills that lead through them. */
async function unread({ world, enter, open, shoot }: Studio): Promise<void> {
  const { people } = world;
  const withTom = await direct(people, 'tom', 'mei');
  const say = talkIn(people, withTom);
  for (let n = 1; n <= 120; n++) await say('tom', `Line ${n} of a long report`);
  const mei = await enter('mei');
  await open(mei, '/');
  await shoot(mei, 'many-unread');
  await mei.locator('.side .row', { hasText: 'Tom Kilburn' }).click();
  await mei.getByText('New messages', { exact: true }).waitFor();
  await mei.locator('.timeline').evaluate((one) => one.scrollBy(0, 900));
  await mei.getByRole('button', { name: /Jump to the newest/ }).waitFor();
  await shoot(mei, 'far-below');
  await field(mei).fill('A draft that is long enough to be cut off at the end of its line');
  await open(mei, '/');
  await expect(mei.getByText('Draft:')).toBeVisible();
  await shoot(mei, 'draft');
}

async function menus({ world, phone, enter, open, shoot }: Studio): Promise<void> {
  const page = await enter('ada');
  await open(page, `/c/${world.torture}`);
  await page.locator('.timeline').evaluate((one) => one.scrollTo(0, 0));
  const code = page.locator('.code-block').first();
  await code.scrollIntoViewIfNeeded();
  await code.locator('pre').evaluate((one) => one.scrollBy(80, 0));
  await shoot(page, 'code-scrolled');
  await open(page, `/c/${world.launch}`);
  if (!phone) {
    const timeline = page.locator('.timeline');
    const message = bubble(page, 'Every ack is checked');
    await message.evaluate((one) => one.scrollIntoView({ block: 'start' }));
    await timeline.evaluate((one) => one.scrollBy(0, 6));
    await message.hover();
    await shoot(page, 'topmost-hover');
    await page.keyboard.press('Tab');
    await timeline.focus();
    await page.keyboard.press('ArrowUp');
    await shoot(page, 'message-focus');
  }
  await bubble(page, 'Ship it').click({ button: 'right' });
  await shoot(page, 'own-menu');
  await page.getByRole('menuitem', { name: 'More emoji' }).click();
  await page.getByRole('dialog', { name: 'Emoji' }).waitFor();
  await shoot(page, 'more-emoji');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Chat actions' }).last().click();
  await shoot(page, 'chat-menu');
  await page.keyboard.press('Escape');
  await open(page, `/c/${world.launch}?details`);
  await page.getByRole('button', { name: /Actions for Tom/ }).click();
  await shoot(page, 'member-menu');
}

async function dialogs({ world, enter, open, shoot }: Studio): Promise<void> {
  const page = await enter('ada');
  await open(page, `/c/${world.launch}`);
  await bubble(page, 'Ship it').click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await shoot(page, 'delete-message');
  await page.keyboard.press('Escape');
  await bubble(page, 'Soak test').click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Report' }).click();
  await shoot(page, 'report');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Chat actions' }).last().click();
  await page.getByRole('menuitem', { name: 'Jump to date' }).click();
  await shoot(page, 'jump-to-date');
  await page.keyboard.press('Escape');
  await open(page, `/c/${world.launch}?details`);
  await page.getByRole('button', { name: 'Add people' }).click();
  await page.getByRole('dialog').getByRole('searchbox').fill('max');
  await page.getByRole('dialog').locator('.row').first().waitFor();
  await shoot(page, 'add-people');
  await page.getByRole('button', { name: 'Close' }).last().click();
  await page.getByRole('button', { name: 'Leave group' }).click();
  await shoot(page, 'leave-group');
  await page.keyboard.press('Escape');
  await open(page, '/settings/account');
  await page
    .getByRole('button', { name: /Delete/ })
    .first()
    .click();
  await shoot(page, 'delete-account');
  await page.keyboard.press('Escape');
  await open(page, '/');
  await page.keyboard.press('?');
  await shoot(page, 'shortcuts');
  await page.keyboard.press('Escape');
  const invited = await group(world.people, 'Ping pong at lunch', ['tom', 'layla']);
  const path = `/api/conversations/${invited}/invite`;
  const { code } = await world.people.tom.post<{ code: string }>(path);
  await open(page, `/join/${code}`);
  await shoot(page, 'join');
  await open(page, `/c/${'0'.repeat(32)}`);
  await shoot(page, 'unreachable');
}

/** What one sees while messages are refused, and while the server does not answer. */
async function failures({ world, enter, open, shoot }: Studio): Promise<void> {
  const tom = await enter('tom');
  const gone = await group(world.people, 'Farewell', ['ada', 'tom']);
  await open(tom, `/c/${gone}`);
  await world.people.ada.remove(`/api/conversations/${gone}/members/${world.people.tom.id}`);
  await tom.getByText('no longer part').waitFor();
  await shoot(tom, 'removed');
  const page = await enter('ada');
  await page.route('**/api/**', (route) =>
    route.fulfill({ status: 503, json: { code: 'unavailable' } }),
  );
  await page.goto('/');
  await page.getByRole('heading', { name: /cannot be reached/ }).waitFor();
  await shoot(page, 'server-busy-at-start');
}

async function administration({ world, enter, open, shoot }: Studio): Promise<void> {
  const { people, launch } = world;
  await people.tom.post(`/api/conversations/${launch}/messages/3/report`, {
    reason: 'Not the kind of thing that one wants to read at work, and much too long as well',
  });
  await people.grace.put(`/api/me/blocked/${people.max.id}`);
  const grace = await enter('grace');
  await open(grace, '/settings/privacy');
  await shoot(grace, 'blocked');
  const page = await enter('ada');
  await open(page, '/admin/reports');
  await shoot(page, 'reports');
  await open(page, '/admin/users');
  await page.getByRole('button', { name: /Actions for Max/ }).click();
  await shoot(page, 'user-menu');
}
