/** Helpers of the browser tests: people with a browser of their own, and what they do. */
import { type Browser, type BrowserContext, expect, type Page } from '@playwright/test';

export const PASSWORD = 'correct horse 8';
let counter = 0;

/** Names never repeat, also when the server keeps the data of an earlier run. */
export function freshName(prefix: string): string {
  counter += 1;
  return `${prefix}${Date.now().toString(36)}${counter}`;
}

export type Person = { name: string; context: BrowserContext; page: Page };

export async function newPerson(
  browser: Browser,
  prefix: string,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<Person> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const name = freshName(prefix);
  await register(page, name);
  return { name, context, page };
}

export async function register(page: Page, name: string): Promise<void> {
  await page.goto('/register');
  await page.getByLabel('Username').fill(name);
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();
}

export async function login(page: Page, name: string): Promise<void> {
  await page.goto('/login');
  await page.getByLabel('Username').fill(name);
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();
}

/** Opens a direct conversation by way of the people panel. */
export async function talkTo(page: Page, name: string): Promise<void> {
  await page.goto('/?side=people');
  await page.getByRole('searchbox', { name: 'Find people' }).fill(name);
  await page.getByRole('button', { name: `Talk to ${name}` }).click();
  await expect(field(page)).toBeVisible();
}

export function field(page: Page) {
  return page.getByRole('textbox', { name: /^Message to/ });
}

/** Writes and sends; `shown` is how the message reads where it is not the text itself. */
export async function say(page: Page, text: string, shown = text): Promise<void> {
  await field(page).fill(text);
  await field(page).press('Enter');
  await expect(bubble(page, shown)).toBeVisible();
}

export function bubble(page: Page, text: string) {
  return page.locator('[data-message]').filter({ hasText: text });
}

/** The row of a conversation in the list. */
export function row(page: Page, title: string) {
  return page.locator('.side .row').filter({ hasText: title });
}
