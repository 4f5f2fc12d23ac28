/** Links to messages, any emoji as a reaction, going to a day, alerts, and all of it without a mouse. */
import { expect, type Page, test } from '@playwright/test';
import { bubble, field, newPerson, PASSWORD, row, say, talkTo } from './people';

const clipboard = (page: Page) => page.evaluate(() => navigator.clipboard.readText());

test('a copied link leads to its message, also a message far away', async ({ browser }) => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  const ada = await newPerson(browser, 'ada', { permissions });
  const bob = await newPerson(browser, 'bob');
  const { page } = ada;
  await talkTo(page, bob.name);
  await say(page, 'The very first message');
  for (let n = 1; n <= 40; n++) {
    await field(page).fill(`filler ${n}`);
    await field(page).press('Enter');
  }
  await expect(bubble(page, 'filler 40').getByLabel(/Sent|Delivered/)).toBeVisible();

  await page.getByRole('button', { name: 'Chat actions' }).last().click();
  await page.getByRole('menuitem', { name: 'Jump to date' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Beginning' }).click();
  await expect(page.getByRole('dialog')).toHaveCount(0);
  const first = bubble(page, 'The very first message');
  await expect(first).toBeInViewport();

  await first.click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Copy link' }).click();
  await expect(page.getByText('Link copied')).toBeVisible();
  const link = await clipboard(page);
  expect(link).toMatch(/\/c\/[0-9a-f]{32}\?at=\d+$/);
  await bob.page.goto(new URL(link).pathname + new URL(link).search);
  await expect(bubble(bob.page, 'The very first message')).toBeInViewport();

  // The pill of a day asks for another one; today begins with the first message.
  await page.getByRole('button', { name: 'Today' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Jump', exact: true }).click();
  await expect(page.getByRole('dialog')).toHaveCount(0);

  await first.click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'More emoji' }).click();
  await page.getByRole('searchbox', { name: 'Find emoji' }).fill('octopus');
  await page.getByRole('button', { name: 'octopus' }).click();
  const reaction = bubble(bob.page, 'The very first message').getByRole('button', {
    name: /🐙, 1/,
  });
  await expect(reaction).toBeVisible();
  await ada.context.close();
  await bob.context.close();
});

test('more unread than fits: the way to the first new message', async ({ browser }) => {
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(bob.page, ada.name);
  await say(bob.page, 'Read already');
  await row(ada.page, bob.name).click();
  await expect(bubble(bob.page, 'Read already').getByLabel('Read')).toBeVisible();
  await ada.page.goto('/settings');
  const id = new URL(bob.page.url()).pathname.split('/')[2];
  for (let n = 1; n <= 130; n++) {
    const path = `/api/conversations/${id}/messages`;
    const key = n.toString(16).padStart(16, 'a');
    const headers = { 'X-WebChat': '1', 'Idempotency-Key': key };
    const answer = await bob.context.request.post(path, { data: { text: `new ${n}.` }, headers });
    expect(answer.ok()).toBe(true);
  }
  await row(ada.page, bob.name).click();
  // One starts to read where the new begins, and nothing counts as read before it was in sight.
  await expect(ada.page.getByText('New messages', { exact: true })).toBeInViewport();
  await expect(bubble(ada.page, 'new 1.')).toBeInViewport();
  await ada.page.getByRole('button', { name: /Jump to the newest/ }).click();
  await expect(bubble(ada.page, 'new 130.')).toBeInViewport();
  await ada.page.getByRole('button', { name: 'Jump to the first new message' }).click();
  await expect(ada.page.getByText('New messages', { exact: true })).toBeInViewport();
  await expect(bubble(ada.page, 'new 1.')).toBeInViewport();
  await ada.context.close();
  await bob.context.close();
});

test('a direct message alerts while nobody looks, and not while one is not to be disturbed', async ({
  browser,
}) => {
  const ada = await newPerson(browser, 'ada', { permissions: ['notifications'] });
  const bob = await newPerson(browser, 'bob');
  const { page } = ada;
  await page.addInitScript(() => {
    const state = window as unknown as { away: boolean; shown: string[] };
    state.away = false;
    state.shown = [];
    const visibility = () => (state.away ? 'hidden' : 'visible');
    Object.defineProperty(document, 'visibilityState', { get: visibility });
    class Fake {
      static permission = 'granted';
      static requestPermission = async () => 'granted';
      constructor(title: string, { body }: { body: string }) {
        state.shown.push(`${title}: ${body}`);
      }
    }
    window.Notification = Fake as unknown as typeof Notification;
  });
  const look = (away: boolean) =>
    page.evaluate((value) => {
      (window as unknown as { away: boolean }).away = value;
      document.dispatchEvent(new Event('visibilitychange'));
    }, away);
  const shown = () => page.evaluate(() => (window as unknown as { shown: string[] }).shown);

  await page.goto('/settings/notifications');
  await page.getByRole('switch', { name: /Show notifications/ }).click();
  await expect(page.getByRole('switch', { name: /Show notifications/ })).toBeChecked();
  await talkTo(bob.page, ada.name);
  await say(bob.page, 'Seen');
  await expect(row(page, bob.name)).toContainText('Seen');
  await look(true);
  await say(bob.page, 'Are you **there**?', 'Are you there?');
  await expect.poll(shown).toEqual([`${bob.name}: Are you there?`]);

  await look(false);
  await page.getByRole('radio', { name: '1 hour' }).check({ force: true });
  await expect(page.getByRole('img', { name: 'Do not disturb is on' })).toBeVisible();
  await look(true);
  await say(bob.page, 'Quiet now');
  await expect(row(page, bob.name)).toContainText('Quiet now');
  await look(false);
  await page.getByRole('radio', { name: 'Off' }).check({ force: true });
  await look(true);
  await say(bob.page, 'Loud again');
  await expect.poll(shown).toHaveLength(2);
  expect((await shown())[1]).toContain('Loud again');
  await ada.context.close();
  await bob.context.close();
});

test('log in, write, answer, react and leave, with the keyboard alone', async ({ browser }) => {
  const bob = await newPerson(browser, 'bob');
  const ada = await newPerson(browser, 'ada');
  await talkTo(bob.page, ada.name);
  await say(bob.page, 'Hello from Bob');
  await ada.context.clearCookies();
  const { page } = ada;
  const key = page.keyboard;
  const reach = async (name: string | RegExp, role: 'button' | 'link' | 'textbox', most = 60) => {
    const wanted = page.getByRole(role, { name }).first();
    for (let n = 0; n < most; n++) {
      if (await wanted.evaluate((one) => one === document.activeElement)) return;
      await key.press('Tab');
    }
    throw new Error(`${name} is not reached by Tab`);
  };

  await page.goto('/login');
  await page.getByLabel('Username').waitFor();
  await reach('Username', 'textbox');
  await key.type(ada.name);
  await key.press('Tab');
  await key.type(PASSWORD);
  await key.press('Enter');
  await page.getByRole('heading', { name: 'Chats' }).waitFor();

  await row(page, bob.name).waitFor();
  await reach(new RegExp(bob.name), 'link');
  await key.press('Enter');
  await expect(field(page)).toBeFocused();
  await key.type('Hello from Ada');
  await key.press('Enter');
  await expect(bubble(bob.page, 'Hello from Ada')).toBeVisible();

  await key.press('Shift+Tab');
  await key.press('Shift+Tab');
  await page.locator('.timeline').focus();
  await key.press('ArrowUp');
  await key.press('ArrowUp');
  await expect(bubble(page, 'Hello from Bob')).toBeFocused();
  await key.press('Enter');
  await expect(page.getByRole('menuitem', { name: '👍' })).toBeFocused();
  await key.press('Enter');
  await expect(bubble(page, 'Hello from Bob').getByRole('button', { name: /👍, 1/ })).toBeVisible();
  await expect(bubble(page, 'Hello from Bob')).toBeFocused();
  await key.press('r');
  await expect(field(page)).toBeFocused();
  await key.type('An answer');
  await key.press('Enter');
  await expect(bubble(bob.page, 'An answer').locator('.quote-ref')).toContainText('Hello from Bob');

  await key.press('Control+k');
  await expect(page.getByRole('searchbox', { name: 'Search messages' })).toBeFocused();
  await key.press('Escape');
  await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();
  await reach('Settings', 'link');
  await key.press('Enter');
  await reach('Log out', 'button');
  await key.press('Enter');
  await expect(page.getByRole('button', { name: 'Log in' })).toBeVisible();
  await ada.context.close();
  await bob.context.close();
});
