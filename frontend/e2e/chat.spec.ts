import { expect, test } from '@playwright/test';
import { bubble, field, login, newPerson, row, say, talkTo } from './people';

test('two people see each other online, write, type, read, and find it all after a reload', async ({
  browser,
}) => {
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');

  await ada.page.goto('/?side=people');
  await expect(ada.page.getByRole('button', { name: `Talk to ${bob.name}` })).toBeVisible();
  await talkTo(ada.page, bob.name);
  await expect(ada.page.getByTestId('status')).toHaveText('Online');

  await say(ada.page, 'Hello Bob, this is **bold** and `code`', 'Hello Bob');
  await expect(bubble(ada.page, 'Hello Bob').getByLabel('Delivered')).toBeVisible();
  await expect(row(bob.page, ada.name).getByText('1 unread message')).toBeAttached();
  await expect(bob.page).toHaveTitle(/^\(1\)/);

  await row(bob.page, ada.name).click();
  await expect(bubble(bob.page, 'Hello Bob').locator('strong')).toHaveText('bold');
  await expect(bubble(ada.page, 'Hello Bob').getByLabel('Read')).toBeVisible();
  await expect(bob.page).toHaveTitle('WebChat');

  await field(bob.page).pressSequentially('Hi');
  await expect(ada.page.getByTestId('typing')).toHaveText(/is typing/);
  await say(bob.page, 'Hi Ada');
  await expect(bubble(ada.page, 'Hi Ada')).toBeVisible();
  await expect(ada.page.getByTestId('typing')).toHaveText('');

  await ada.page.reload();
  await expect(bubble(ada.page, 'Hello Bob')).toBeVisible();
  await expect(bubble(ada.page, 'Hi Ada')).toBeVisible();
  await expect(ada.page.locator('[data-message]')).toHaveCount(2);

  await bob.context.close();
  await expect(ada.page.getByTestId('status')).toHaveText(/Last seen|Offline/, { timeout: 20_000 });
  await ada.context.close();
});

test('edit, reply, react and delete arrive at the other one', async ({ browser }) => {
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(ada.page, bob.name);
  await say(ada.page, 'First draft');
  await expect(bubble(ada.page, 'First draft').getByLabel(/Sent|Delivered/)).toBeVisible();
  await row(bob.page, ada.name).click();

  await field(ada.page).press('ArrowUp');
  await expect(field(ada.page)).toHaveValue('First draft');
  await field(ada.page).fill('Second draft');
  await field(ada.page).press('Enter');
  await expect(bubble(bob.page, 'Second draft').getByText('edited')).toBeVisible();

  await bubble(bob.page, 'Second draft').click({ button: 'right' });
  await bob.page.getByRole('menuitem', { name: '👍' }).click();
  const reaction = bubble(ada.page, 'Second draft').getByRole('button', { name: /👍, 1/ });
  await expect(reaction).toBeVisible();

  await bubble(bob.page, 'Second draft').click({ button: 'right' });
  await bob.page.getByRole('menuitem', { name: 'Reply' }).click();
  await say(bob.page, 'Better');
  await expect(bubble(ada.page, 'Better').locator('.quote-ref')).toContainText('Second draft');

  await bubble(ada.page, 'Second draft').first().click({ button: 'right' });
  await ada.page.getByRole('menuitem', { name: 'Delete' }).click();
  await ada.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(bubble(bob.page, 'This message was deleted').first()).toBeVisible();
  await ada.context.close();
  await bob.context.close();
});

test('a group: everybody gets it, one who joins by link too, a removed one not any more', async ({
  browser,
}) => {
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  const eve = await newPerson(browser, 'eve');
  const title = `Club ${ada.name}`;

  await ada.page.getByRole('button', { name: 'New group' }).first().click();
  const dialog = ada.page.getByRole('dialog');
  await dialog.getByLabel('Group name').fill(title);
  await dialog.getByRole('searchbox').fill(bob.name);
  await dialog.locator('.row', { hasText: bob.name }).getByRole('checkbox').check();
  await dialog.getByRole('button', { name: 'Create group' }).click();
  await say(ada.page, 'Welcome to the club');
  await row(bob.page, title).click();
  await expect(bubble(bob.page, 'Welcome to the club')).toBeVisible();
  await say(bob.page, 'Glad to be here');
  await expect(bubble(ada.page, 'Glad to be here')).toBeVisible();

  await ada.page.locator('.head__who').click();
  await ada.page.getByRole('button', { name: 'Copy invite link' }).click();
  const link = await ada.page.getByText('/join/').textContent();
  await eve.page.goto(new URL(link ?? '').pathname);
  await eve.page.getByRole('button', { name: 'Join group' }).click();
  await expect(field(eve.page)).toBeVisible();
  await say(ada.page, 'Hello Eve');
  await expect(bubble(eve.page, 'Hello Eve')).toBeVisible();

  await ada.page.getByRole('button', { name: `Actions for ${eve.name}` }).click();
  await ada.page.getByRole('menuitem', { name: 'Remove from group' }).click();
  await expect(ada.page.getByText(`You removed ${eve.name}`)).toBeVisible();
  await expect(eve.page.getByText('You are no longer part of this group')).toBeVisible();
  await say(ada.page, 'Only for members');
  await expect(bubble(bob.page, 'Only for members')).toBeVisible();
  await expect(bubble(eve.page, 'Only for members')).toHaveCount(0);
  for (const person of [ada, bob, eve]) await person.context.close();
});

test('a third tab of the same person stays in sync, and logout ends its sockets', async ({
  browser,
}) => {
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(ada.page, bob.name);
  const tab = await ada.context.newPage();
  await tab.goto(new URL(ada.page.url()).pathname);
  const phone = await browser.newContext();
  const other = await phone.newPage();
  await login(other, ada.name);

  await say(ada.page, 'From the first tab');
  await expect(bubble(tab, 'From the first tab')).toBeVisible();
  await row(other, bob.name).click();
  await expect(bubble(other, 'From the first tab')).toBeVisible();
  await say(tab, 'From the second tab');
  await expect(bubble(ada.page, 'From the second tab')).toBeVisible();
  await expect(bubble(other, 'From the second tab')).toBeVisible();

  await tab.goto('/settings/profile');
  await tab.getByRole('button', { name: 'Log out' }).click();
  await expect(tab.getByRole('button', { name: 'Log in' })).toBeVisible();
  await expect(ada.page.getByRole('button', { name: 'Log in' })).toBeVisible();
  // Another session of the same person goes on.
  await say(other, 'Still here');
  await expect(bubble(other, 'Still here').getByLabel(/Sent|Delivered/)).toBeVisible();
  for (const context of [ada.context, bob.context, phone]) await context.close();
});
