import { expect, type Page, test } from '@playwright/test';
import { bubble, field, freshName, newPerson, register, row, say, talkTo } from './people';

const numbers = async (page: Page) => {
  const all = await page.locator('[data-message] .text').allTextContents();
  return all.filter((text) => text.startsWith('no ')).map((text) => Number(text.slice(3)));
};

test('offline in the middle of sending, a reload, a closed tab: each message once, in order', async ({
  browser,
}) => {
  test.setTimeout(150_000);
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(ada.page, bob.name);
  const place = new URL(ada.page.url()).pathname;
  await say(ada.page, 'no 1');
  await row(bob.page, ada.name).click();
  await expect(bubble(bob.page, 'no 1')).toBeVisible();

  // Offline, and back.
  await ada.context.setOffline(true);
  await say(ada.page, 'no 2');
  await say(ada.page, 'no 3');
  await expect(bubble(ada.page, 'no 3').getByLabel('Sending')).toBeVisible();
  await ada.context.setOffline(false);
  await expect(bubble(bob.page, 'no 3')).toBeVisible({ timeout: 40_000 });

  // A reload while they are on their way.
  for (const text of ['no 4', 'no 5']) {
    await field(ada.page).fill(text);
    await field(ada.page).press('Enter');
  }
  await ada.page.reload();
  await expect(bubble(bob.page, 'no 5')).toBeVisible({ timeout: 40_000 });

  await expect(bubble(ada.page, 'no 5')).toBeVisible();

  // Written offline, then the tab is closed; another tab adopts what was left.
  await ada.context.setOffline(true);
  await say(ada.page, 'no 6');
  await expect(bubble(ada.page, 'no 6').getByLabel('Sending')).toBeVisible();
  await ada.page.close();
  await ada.context.setOffline(false);
  const again = await ada.context.newPage();
  await again.goto(place);
  await expect(bubble(bob.page, 'no 6')).toBeVisible({ timeout: 40_000 });
  await expect(bubble(again, 'no 6').getByLabel(/Sent|Delivered|Read/)).toBeVisible();

  await expect.poll(() => numbers(bob.page)).toEqual([1, 2, 3, 4, 5, 6]);
  await expect.poll(() => numbers(again)).toEqual([1, 2, 3, 4, 5, 6]);
  await ada.context.close();
  await bob.context.close();
});

test('the banner tells when the server was heard last', async ({ browser }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  // The page shows before its socket is welcomed; only after that there is a time to tell.
  const welcomed = page
    .waitForEvent('websocket')
    .then((socket) => socket.waitForEvent('framereceived'));
  await register(page, freshName('ada'));
  await welcomed;
  await context.setOffline(true);
  const banner = page.getByText(/You are offline\. What you see is from \d\d:\d\d/);
  await expect(banner).toBeVisible();
  await context.setOffline(false);
  await expect(banner).toHaveCount(0, { timeout: 40_000 });
  await context.close();
});
