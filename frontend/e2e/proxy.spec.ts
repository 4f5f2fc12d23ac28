/** What nginx in front changes, and what it must not: origins, cookies, and whose address a limit counts. */
import { request } from 'node:http';
import { expect, test } from '@playwright/test';
import { newPerson } from './people';

type Asked = { method?: string; from?: string; headers?: Record<string, string>; body?: string };

/** The status of one request, made by hand: a browser does not let a page write these headers. */
function ask(base: string, path: string, { from, body, ...options }: Asked): Promise<number> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(base);
    const local = { hostname: '127.0.0.1', port, path, localAddress: from };
    const sent = request({ ...local, ...options }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    sent.once('upgrade', (_, socket) => {
      socket.destroy();
      resolve(101);
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

test('a socket is opened for the page at its own address, and for no other page', async ({
  browser,
  baseURL,
}) => {
  if (!baseURL) throw new Error('no server');
  const { context } = await newPerson(browser, 'ada');
  const cookies = await context.cookies();
  expect(cookies.length).toBeGreaterThan(0);
  for (const cookie of cookies) expect(cookie).toMatchObject({ httpOnly: true });
  const upgrade = {
    Cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; '),
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhpcyBpcyBub3QgYSBrZXk=',
    'Sec-WebSocket-Protocol': 'webchat.v1',
  };
  const open = (more: Record<string, string>) =>
    ask(baseURL, '/ws', { headers: { Host: new URL(baseURL).host, ...upgrade, ...more } });
  const evil = 'http://evil.example';
  expect(await open({ Origin: baseURL })).toBe(101);
  expect(await open({ Origin: evil })).toBe(403);
  // The allow-list is a setting: no header says what it holds.
  expect(await open({ Origin: evil, Host: 'evil.example' })).toBe(403);
  expect(await open({ Origin: evil, 'X-Forwarded-Host': 'evil.example' })).toBe(403);
  expect(await open({})).toBe(403);
  await context.close();
});

test('a limit counts the address that nginx saw, not one that the client wrote', async ({
  baseURL,
}) => {
  if (!baseURL) throw new Error('no server');
  // 127.0.0.1 is the browsers' address, and free of limits here; nobody else comes from these two.
  const register = (from: string) =>
    ask(baseURL, '/api/auth/register', {
      method: 'POST',
      from,
      headers: {
        'Content-Type': 'application/json',
        'X-WebChat': '1',
        'X-Forwarded-For': '127.0.0.1',
        Forwarded: 'for=127.0.0.1',
      },
      body: JSON.stringify({ username: '', password: '' }),
    });
  const answers = new Set<number>();
  for (let n = 0; n < 25; n++) answers.add(await register('127.0.0.2'));
  expect([...answers]).toEqual([400, 429]);
  expect(await register('127.0.0.3')).toBe(400);
});
