import { expect, type Page, test } from '@playwright/test';
import { bubble, field, newPerson, row, say, talkTo } from './people';

const MESSAGES = 130;

/** Where a message is on the screen. */
const topOf = async (page: Page, text: string) =>
  (await bubble(page, text).first().boundingBox())?.y ?? Number.NaN;

/** Lets the page draw `count` times. */
const frames = (page: Page, count: number) =>
  page.evaluate(async (n) => {
    for (let i = 0; i < n; i++) await new Promise(requestAnimationFrame);
  }, count);

test('history is endless and holds still; a reply jumps to its message and back to the end', async ({
  browser,
}) => {
  test.setTimeout(180_000);
  const ada = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(ada.page, bob.name);
  for (let n = 1; n <= MESSAGES; n++) {
    const long = n % 7 === 0 ? ` ${'with a longer text that wraps '.repeat(9)}` : '';
    await field(ada.page).fill(`Line ${n}.${long}`);
    await field(ada.page).press('Enter');
  }
  await expect(bubble(ada.page, `Line ${MESSAGES}.`).getByLabel(/Sent|Delivered/)).toBeVisible();

  await row(bob.page, ada.name).click();
  const log = bob.page.getByRole('log');
  // The first unread message is where one starts to read.
  await expect(bob.page.getByText('New messages', { exact: true })).toBeInViewport();
  await bob.page.getByRole('button', { name: /Jump to the newest/ }).click();
  await expect(bubble(bob.page, `Line ${MESSAGES}.`)).toBeInViewport();
  await expect(bubble(ada.page, `Line ${MESSAGES}.`).getByLabel('Read')).toBeVisible();

  // Upwards by the wheel: what is in view moves by the wheel and by nothing else.
  await bob.page.reload();
  await expect(bubble(bob.page, `Line ${MESSAGES}.`)).toBeInViewport();
  await log.hover();
  for (let turn = 0; turn < 60; turn++) {
    if (await bubble(bob.page, 'Line 1.').count()) break;
    await bob.page.mouse.wheel(0, -400);
    await bob.page.waitForFunction(() => document.querySelectorAll('[data-message]').length > 0);
    const seen = await bob.page.evaluate(
      () =>
        [...document.querySelectorAll('[data-message]')]
          .find((element) => element.getBoundingClientRect().top > 150)
          ?.textContent?.match(/Line \d+\./)?.[0] ?? '',
    );
    const before = await topOf(bob.page, seen);
    await frames(bob.page, 8);
    const after = await topOf(bob.page, seen);
    // The browser may still be scrolling downwards of the wheel's own distance, never against it.
    expect(after - before, `${seen} jumped`).toBeGreaterThanOrEqual(-2);
    expect(after - before, `${seen} jumped`).toBeLessThanOrEqual(402);
  }
  await expect(bubble(bob.page, 'Line 1.')).toHaveCount(1);

  await bubble(bob.page, 'Line 2.').click({ button: 'right' });
  await bob.page.getByRole('menuitem', { name: 'Reply' }).click();
  await say(bob.page, 'An answer to an old one');
  await expect(bubble(bob.page, 'An answer to an old one')).toBeInViewport();
  await bob.page.reload();
  await bubble(bob.page, 'An answer to an old one').locator('.quote-ref').click();
  await expect(bubble(bob.page, 'Line 2.').first()).toBeInViewport();
  await say(ada.page, 'Meanwhile');
  await bob.page.getByRole('button', { name: /Jump to the newest/ }).click();
  await expect(bubble(bob.page, 'Meanwhile')).toBeInViewport();
  await ada.context.close();
  await bob.context.close();
});
