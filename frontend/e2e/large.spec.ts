/** A group of more than 32 members: nobody is named there, so the page counts who has read. */
import {
  type APIRequestContext,
  type BrowserContext,
  expect,
  type Page,
  test,
} from '@playwright/test';
import { bubble, freshName, newPerson, PASSWORD, row, say } from './people';
import { type OwnServer, startServer } from './server';

/** Besides Ada. One of them gives no receipts and is not waited for: 40 are. */
const OTHERS = 41;
const READERS_BY_SOCKET = 10;

// Its own server: forty people of one address are more than the shared one lets register in a minute.
let server: OwnServer;
test.beforeAll(async () => {
  server = await startServer('--trusted-source', '127.0.0.1/32');
});
test.afterAll(() => server.stop());

type Member = { id: string; request: APIRequestContext };

test('who has read is counted, while it happens and after a reload', async ({
  browser,
  playwright,
}) => {
  test.setTimeout(180_000);
  const baseURL = server.url;
  const headers = { 'X-WebChat': '1' };
  const ada = await newPerson(browser, 'ada', { baseURL });
  const bob = await newPerson(browser, 'bob', { baseURL });
  const cleo = await newPerson(browser, 'cleo', { baseURL });
  const members: Member[] = [];
  for (let n = 2; n < OTHERS; n++) {
    const request = await playwright.request.newContext({ baseURL, extraHTTPHeaders: headers });
    const data = { username: freshName('member'), password: PASSWORD };
    const answer = await request.post('/api/auth/register', { data });
    expect(answer.status()).toBe(201);
    members.push({ id: (await answer.json()).user.id, request });
  }
  const quiet = members.pop();
  expect((await quiet?.request.patch('/api/me', { data: { receipts_off: true } }))?.ok()).toBe(
    true,
  );

  const title = `Assembly ${ada.name}`;
  const ids = [...members, quiet].map((one) => one?.id);
  for (const person of [bob, cleo])
    ids.push((await (await person.context.request.get('/api/me')).json()).id);
  const made = await ada.context.request.post('/api/conversations', {
    data: { title, members: ids, history: 'all' },
    headers: { ...headers, 'Idempotency-Key': '00000000000000aa' },
  });
  const { id } = await made.json();

  await row(ada.page, title).click();
  await expect(ada.page.getByTestId('status')).toContainText(`${OTHERS + 1} members`);
  await say(ada.page, 'Is everybody here?');
  const message = bubble(ada.page, 'Is everybody here?');
  await expect(message.getByLabel(/Sent|Delivered/)).toBeVisible();
  for (const person of [bob, cleo]) {
    await row(person.page, title).click();
    await expect(bubble(person.page, 'Is everybody here?')).toBeVisible();
  }
  await expectReaders(ada.page, 2);

  const seq = await seqOf(ada.context, id, 'Is everybody here?');
  const others = await browser.newContext({ baseURL });
  await readBySocket(others, members.slice(0, READERS_BY_SOCKET), id, seq);
  await expectReaders(ada.page, 2 + READERS_BY_SOCKET);
  // Not all of them: the tick has not its colour.
  await expect(message.getByLabel('Read')).toHaveCount(0);
  await ada.page.reload();
  await expectReaders(ada.page, 2 + READERS_BY_SOCKET);

  await readBySocket(others, members.slice(READERS_BY_SOCKET), id, seq);
  await ada.page.reload();
  await expect(message.getByLabel('Read')).toBeVisible();
  await expectReaders(ada.page, OTHERS - 1);
  await say(bob.page, 'Bob is');
  await expect(bubble(ada.page, 'Bob is')).toBeVisible();
  for (const person of [ada, bob, cleo]) await person.context.close();
  await others.close();
  for (const one of [...members, quiet]) await one?.request.dispose();
});

/** The menu of the own message says how many, and no name; it is counted again every 15 s at first. */
async function expectReaders(page: Page, n: number): Promise<void> {
  await bubble(page, 'Is everybody here?').click({ button: 'right' });
  const readers = page.getByRole('menu').locator('.read-by');
  await expect(readers).toHaveText(`Read by ${n} of ${OTHERS - 1}`, { timeout: 60_000 });
  await page.keyboard.press('Escape');
}

async function seqOf(context: BrowserContext, id: string, text: string): Promise<number> {
  const page = await (await context.request.get(`/api/conversations/${id}/messages`)).json();
  const found = page.items.find((one: { text?: string }) => one.text === text);
  return found.seq;
}

/** Each of them connects as a program would, gets the welcome, and says how far it has read. */
async function readBySocket(
  context: BrowserContext,
  members: readonly Member[],
  conversation: string,
  seq: number,
): Promise<void> {
  const page = await context.newPage();
  await page.goto('/api/instance');
  for (const { request } of members) {
    await context.clearCookies();
    await context.addCookies((await request.storageState()).cookies);
    const ended = await page.evaluate(
      ([conversation, seq]) =>
        new Promise<string>((resolve) => {
          const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`, 'webchat.v1');
          socket.onopen = () => socket.send(JSON.stringify({ type: 'hello' }));
          socket.onmessage = ({ data }) => {
            const frame = JSON.parse(data);
            if (frame.type === 'error') resolve(frame.code);
            if (frame.type !== 'welcome') return;
            const receipt = { type: 'receipt', conversation, delivered: seq, read: seq };
            socket.send(JSON.stringify(receipt));
            // Closed in order: what was sent before is taken before.
            socket.close(1000);
          };
          socket.onclose = ({ code }) => resolve(`closed ${code}`);
        }),
      [conversation, seq] as const,
    );
    expect(ended).toBe('closed 1000');
  }
  await page.close();
}
