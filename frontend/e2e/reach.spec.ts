/** What one does has to be in reach: of a finger, of a mouse, of the arrow keys. */
import { expect, test } from '@playwright/test';
import { bubble, field, newPerson, say, talkTo } from './people';

const CODE = `const row = { ${'aLongKey: 1, '.repeat(12)} };`;

test('on a phone, code shows that it goes on, and the emoji are as wide as the screen', async ({
  browser,
}) => {
  const viewport = { width: 390, height: 844 };
  const options = { viewport, isMobile: true, hasTouch: true };
  const { page, context } = await newPerson(browser, 'ada', options);
  const bob = await newPerson(browser, 'bob');
  await talkTo(page, bob.name);
  await say(page, `\`\`\`\n${CODE}\n\`\`\``, 'const row');
  const code = page.locator('.code-block');
  await expect(code).toHaveAttribute('data-after', 'true');
  await expect(code).not.toHaveAttribute('data-before');
  await code.locator('pre').evaluate((one) => one.scrollTo(one.scrollWidth, 0));
  await expect(code).toHaveAttribute('data-before', 'true');
  await expect(code).not.toHaveAttribute('data-after');

  await page.getByRole('button', { name: 'Emoji' }).tap();
  const panel = page.getByRole('dialog', { name: 'Emoji' });
  await expect(panel).toBeFocused();
  const inComposer = await panel.boundingBox();
  expect(inComposer?.x).toBeLessThanOrEqual(8);
  expect(inComposer?.width).toBeGreaterThanOrEqual(viewport.width - 16);
  await page.keyboard.press('Escape');
  await bubble(page, 'const row').click({ button: 'right', position: { x: 5, y: 5 } });
  await page.getByRole('menuitem', { name: 'More emoji' }).tap();
  await expect(panel).toBeVisible();
  await expect
    .poll(async () => {
      const box = await panel.boundingBox();
      return box && [box.x, box.width, Math.round(box.y + box.height)];
    })
    .toEqual([0, viewport.width, viewport.height]);
  await context.close();
  await bob.context.close();
});

test('the tools of a message that is half above stay below the head', async ({ browser }) => {
  const { page, context } = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(page, bob.name);
  await say(page, 'One line\n'.repeat(8).trim(), 'One line');
  for (let n = 1; n <= 20; n++) await say(page, `filler ${n}.`);
  const timeline = page.locator('.timeline');
  const message = bubble(page, 'One line');
  await timeline.evaluate((one) => one.scrollTo(0, 0));
  await expect(message).toBeVisible();
  const [top, box] = [await timeline.boundingBox(), await message.boundingBox()];
  await timeline.evaluate((one, by) => one.scrollBy(0, by), (box?.y ?? 0) - (top?.y ?? 0) + 40);
  await message.hover({ position: { x: 5, y: 90 } });
  const tools = message.locator('.msg__tools');
  await expect(tools).toHaveCSS('opacity', '1');
  const place = await tools.boundingBox();
  expect(place?.y).toBeGreaterThanOrEqual(top?.y ?? 0);
  await tools.getByRole('button', { name: 'Reply' }).click();
  await expect(page.getByText('Replying to You')).toBeVisible();
  await context.close();
  await bob.context.close();
});

test('the arrow keys walk through a menu and through the emoji', async ({ browser }) => {
  const { page, context } = await newPerson(browser, 'ada');
  const bob = await newPerson(browser, 'bob');
  await talkTo(page, bob.name);
  await say(page, 'Walk');
  const key = page.keyboard;
  await bubble(page, 'Walk').click({ button: 'right' });
  const item = (name: string) => page.getByRole('menuitem', { name });
  await expect(item('👍')).toBeFocused();
  await key.press('ArrowRight');
  await expect(item('❤️')).toBeFocused();
  await key.press('ArrowDown');
  await expect(item('Reply')).toBeFocused();
  await key.press('ArrowUp');
  await expect(item('👍')).toBeFocused();
  await key.press('ArrowUp');
  await expect(item('Delete')).toBeFocused();
  await key.press('Home');
  await expect(item('👍')).toBeFocused();
  await key.press('Escape');

  await page.getByRole('button', { name: 'Emoji' }).click();
  const search = page.getByRole('searchbox', { name: 'Find emoji' });
  await expect(search).toBeFocused();
  await key.press('ArrowDown');
  const emoji = page.locator('[data-emoji]');
  await expect(emoji.nth(0)).toBeFocused();
  await key.press('ArrowRight');
  await expect(emoji.nth(1)).toBeFocused();
  await key.press('ArrowDown');
  await expect(emoji.nth(1)).not.toBeFocused();
  await key.press('ArrowUp');
  await expect(emoji.nth(1)).toBeFocused();
  await key.press('ArrowUp');
  await expect(search).toBeFocused();
  await key.press('ArrowDown');
  const chosen = (await emoji.nth(0).textContent()) ?? '';
  await key.press('Enter');
  await expect(field(page)).toHaveValue(chosen);
  await context.close();
  await bob.context.close();
});
