/** A server that is away, hangs, or comes back: what one sees of it, and that it heals by itself. */
import { expect, test } from '@playwright/test';
import { bubble, field, newPerson, PASSWORD, say, talkTo } from './people';
import { type OwnServer, startServer } from './server';

let server: OwnServer;
test.beforeEach(async () => {
  server = await startServer();
});
test.afterEach(() => server.stop());

test('a server that is killed and comes back: nothing to do, nothing lost', async ({ browser }) => {
  test.setTimeout(120_000);
  const { page, context, name } = await newPerson(browser, 'ada', { baseURL: server.url });
  const bob = await newPerson(browser, 'bob', { baseURL: server.url });
  await talkTo(page, bob.name);
  await say(page, 'Before');
  await expect(bubble(page, 'Before').getByLabel(/Sent|Delivered/)).toBeVisible();
  // Seen before, so that its part of the page is there.
  await page.goto('/settings/sessions');
  await expect(page.getByText('This device')).toBeVisible();
  await page.goBack();
  // History is there, not only what this device keeps of its own.
  await expect(page.getByText('Conversation started')).toBeVisible();

  await server.kill();
  await expect(page.getByText(/Reconnecting… What you see is from/)).toBeVisible();
  await say(page, 'While it was away');
  // An edit needs the server: what was typed is not lost with it.
  await bubble(page, 'Before').click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Edit' }).click();
  await field(page).fill('Before, and better');
  await field(page).press('Enter');
  await expect(page.getByText('The server cannot be reached right now.')).toBeVisible();
  await expect(field(page)).toHaveValue('Before, and better');
  await page.keyboard.press('Escape');
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('link', { name: 'Devices' }).click();
  // Three tries, then it says so.
  const reached = page.getByRole('alert').filter({ hasText: 'cannot be reached' });
  await expect(reached).toBeVisible({ timeout: 20_000 });

  server = await server.again();
  await expect(page.getByText('This device')).toBeVisible({ timeout: 40_000 });
  await expect(reached).toHaveCount(0);
  await page.getByRole('link', { name: 'Chats' }).click();
  await page.locator('.side .row', { hasText: bob.name }).click();
  await expect(bubble(page, 'While it was away').getByLabel(/Sent|Delivered/)).toBeVisible({
    timeout: 40_000,
  });
  await bob.page.locator('.side .row', { hasText: name }).click();
  await expect(bubble(bob.page, 'While it was away')).toHaveCount(1, { timeout: 40_000 });
  await context.close();
  await bob.context.close();
});

test('a page that opens while the server cannot answer goes on by itself', async ({ browser }) => {
  const { page, context } = await newPerson(browser, 'ada', { baseURL: server.url });
  await context.route('**/api/**', (route) => route.abort());
  await page.goto('/');
  await expect(page.getByRole('heading', { name: /cannot be reached/ })).toBeVisible();
  await context.unroute('**/api/**');
  await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible({ timeout: 30_000 });

  // A part of the page that does not come takes nothing else with it, and comes later.
  await context.route('**/assets/SettingsPage*', (route) => route.abort());
  await page.reload();
  await page.getByRole('link', { name: 'Settings' }).click();
  await expect(page.getByText('This part of the page could not be loaded.')).toBeVisible();
  await expect(page.getByRole('link', { name: 'People' })).toBeVisible();
  await context.unroute('**/assets/SettingsPage*');
  await expect(page.getByRole('heading', { name: 'Settings' })).toBeVisible({ timeout: 30_000 });
  await context.close();
});

test('a server that hangs is told of, and what was written then is sent', async ({ browser }) => {
  const { page, context } = await newPerson(browser, 'ada', { baseURL: server.url });
  const bob = await newPerson(browser, 'bob', { baseURL: server.url });
  await talkTo(page, bob.name);
  await say(page, 'Quick');
  await expect(bubble(page, 'Quick').getByLabel(/Sent|Delivered/)).toBeVisible();

  server.process.kill('SIGSTOP');
  await field(page).fill('Slow');
  await field(page).press('Enter');
  const stuck = page.getByText('The server takes no messages at the moment.');
  await expect(stuck).toBeVisible({ timeout: 20_000 });
  await expect(bubble(page, 'Slow').getByLabel('Sending')).toBeVisible();
  server.process.kill('SIGCONT');
  await expect(bubble(page, 'Slow').getByLabel(/Sent|Delivered/)).toBeVisible({ timeout: 30_000 });
  await expect(stuck).toHaveCount(0);
  await context.close();
  await bob.context.close();
});

test('a disabled account is led to the login, and told why', async ({ browser }) => {
  const admin = await newPerson(browser, 'admin', { baseURL: server.url });
  const eve = await newPerson(browser, 'eve', { baseURL: server.url });
  await expect(eve.page.getByText('No conversations yet')).toBeVisible();
  await admin.page.goto('/admin/users');
  await admin.page.getByRole('button', { name: `Actions for ${eve.name}` }).click();
  await admin.page.getByRole('menuitem', { name: 'Disable' }).click();
  const notice = eve.page.getByRole('alert');
  await expect(notice).toHaveText(/Your session ended|This account is disabled/);
  await eve.page.getByLabel('Username').fill(eve.name);
  await eve.page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await eve.page.getByRole('button', { name: 'Log in' }).click();
  await expect(notice).toHaveText('This account is disabled.');
  await admin.context.close();
  await eve.context.close();
});
