/** What only several brokers can show: people and sessions on different ones, and one that dies. */
import { expect, type Page, test } from '@playwright/test';
import {
  apart,
  brokerNames,
  call,
  closeAll,
  loginAway,
  operate,
  type Placed,
  personAway,
  windowAway,
} from './cluster';
import { bubble, field, row, say, talkTo } from './people';

type Id = { id: string };
type Slot = { type: string; seq: number; from?: string; body?: { text?: string } };

const TICKED = /Sent|Delivered|Read/;
const RECONNECT = { timeout: 40_000 };
/** From the click on "Log out" to the end of the last socket, on machines that are busy with browsers. */
const LOGOUT_MS_MAX = 1_500;

const idOf = async (person: Placed) => (await call<Id>(person, 'GET', '/me')).id;
const open = (of: Placed, title: string) => row(of.page, title).click();

async function newGroup(owner: Placed, title: string, ...members: string[]): Promise<string> {
  return (await call<Id>(owner, 'POST', '/conversations', { title, members })).id;
}

/** The texts of a page's conversation that begin with the word, as they stand there. */
async function texts(page: Page, word: string): Promise<string[]> {
  const all = await page.locator('[data-message] .text').allTextContents();
  return all.filter((text) => text.startsWith(`${word} `));
}

const numbered = (word: string, count: number) =>
  Array.from({ length: count }, (_, n) => `${word} ${n + 1}.`);

test('two people on two brokers: online, both ways, typing, ticks, and a group', async ({
  browser,
}) => {
  const ada = await personAway(browser, 'ada');
  const bob = await personAway(browser, 'bob');
  await talkTo(ada.page, bob.name);
  await apart(ada, bob);
  await expect(ada.page.getByTestId('status')).toHaveText('Online');
  await say(ada.page, 'Hello from here');
  await expect(bubble(ada.page, 'Hello from here').getByLabel('Delivered')).toBeVisible();
  await expect(row(bob.page, ada.name).getByText('1 unread message')).toBeAttached();
  await open(bob, ada.name);
  await expect(bob.page.getByTestId('status')).toHaveText('Online');
  await expect(bubble(ada.page, 'Hello from here').getByLabel('Read')).toBeVisible();

  await field(bob.page).pressSequentially('Hi');
  await expect(ada.page.getByTestId('typing')).toHaveText(/is typing/);
  await say(bob.page, 'Hi from there');
  await expect(bubble(ada.page, 'Hi from there')).toBeVisible();
  await expect(bubble(bob.page, 'Hi from there').getByLabel('Read')).toBeVisible();

  const cleo = await personAway(browser, 'cleo', [ada.broker, bob.broker]);
  const title = `Group of ${ada.name}`;
  await newGroup(ada, title, await idOf(bob), await idOf(cleo));
  const all = [ada, bob, cleo];
  for (const one of all) await open(one, title);
  for (const one of all) await say(one.page, `From ${one.name}`);
  // Nobody has moved meanwhile.
  for (const one of all) expect(await one.socket.broker()).toBe(one.broker);
  for (const one of all) {
    for (const { name } of all) await expect(bubble(one.page, `From ${name}`)).toHaveCount(1);
  }
  await closeAll(...all);
});

test('three sessions of one person on three brokers stay in sync', async ({ browser }) => {
  const desk = await personAway(browser, 'ada');
  const phone = await loginAway(browser, desk.name, [desk.broker]);
  const tablet = await loginAway(browser, desk.name, [desk.broker, phone.broker]);
  const three = [desk, phone, tablet];
  expect(new Set(three.map((one) => one.broker)).size).toBe(3);
  const bob = await personAway(browser, 'bob');
  await talkTo(bob.page, desk.name);
  await say(bob.page, 'Anybody there?');
  const unread = (one: Placed) => row(one.page, bob.name).getByText('1 unread message');
  for (const one of three) await expect(unread(one)).toBeAttached();

  await open(phone, bob.name);
  await expect(bubble(bob.page, 'Anybody there?').getByLabel('Read')).toBeVisible();
  for (const one of three) await expect(unread(one)).toHaveCount(0);

  for (const one of [desk, tablet]) await open(one, bob.name);
  await say(desk.page, 'First');
  for (const one of [phone, tablet]) await expect(bubble(one.page, 'First')).toBeVisible();
  await expect(bubble(phone.page, 'First').getByLabel(TICKED)).toBeVisible();
  await bubble(phone.page, 'First').click({ button: 'right' });
  await phone.page.getByRole('menuitem', { name: 'Edit' }).click();
  await field(phone.page).fill('Second');
  await field(phone.page).press('Enter');
  for (const one of [...three, bob]) {
    await expect(bubble(one.page, 'Second').getByText('edited')).toBeVisible();
  }
  await bubble(tablet.page, 'Anybody there?').click({ button: 'right' });
  await tablet.page.getByRole('menuitem', { name: '👍' }).click();
  for (const one of [...three, bob]) {
    const reaction = bubble(one.page, 'Anybody there?').getByRole('button', { name: /👍, 1/ });
    await expect(reaction).toBeVisible();
  }
  await bubble(desk.page, 'Second').click({ button: 'right' });
  await desk.page.getByRole('menuitem', { name: 'Delete' }).click();
  await desk.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  for (const one of [...three, bob]) {
    await expect(bubble(one.page, 'This message was deleted')).toHaveCount(1);
    await expect(bubble(one.page, 'Second')).toHaveCount(0);
  }
  await closeAll(...three, bob);
});

test('added to groups while the page connects: everything from then on', async ({ browser }) => {
  const ada = await personAway(browser, 'ada');
  const bob = await personAway(browser, 'bob', [ada.broker]);
  const bobId = await idOf(bob);
  const titles = Array.from({ length: 9 }, (_, n) => `Group ${n + 1} of ${ada.name}`);
  const groups: string[] = [];
  for (const title of titles) groups.push(await newGroup(ada, title));
  /** Adds Bob to the next three, and writes there at once. */
  const add = async (from: number) => {
    for (const id of groups.slice(from, from + 3)) {
      await call(ada, 'POST', `/conversations/${id}/members`, { users: [bobId] });
      await call(ada, 'POST', `/conversations/${id}/messages`, { text: 'first.' });
    }
  };
  // Three before the hello reaches the broker, three beside it, three beside the welcome.
  const added: Promise<void>[] = [];
  await bob.page.routeWebSocket('**/ws', (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      if (added.length > 0 || !text.includes('"hello"')) return server.send(text);
      const before = add(0);
      const beside = before.then(() => {
        server.send(text);
        return add(3);
      });
      added.push(before, beside);
    });
    server.onMessage((text) => {
      if (added.length === 2 && text.includes('"welcome"')) added.push(add(6));
      socket.send(text);
    });
  });
  await bob.page.reload();
  await expect.poll(() => added.length, RECONNECT).toBe(3);
  await Promise.all(added);
  for (const id of groups) {
    await call(ada, 'POST', `/conversations/${id}/messages`, { text: 'second.' });
  }
  for (const title of titles) {
    await expect(row(bob.page, title), title).toContainText('second.');
    await open(bob, title);
    for (const text of ['first.', 'second.']) {
      await expect(bubble(bob.page, text), `${title}: ${text}`).toHaveCount(1);
    }
  }
  await closeAll(ada, bob);
});

test('removed: nothing of theirs is stored after that, from any broker', async ({ browser }) => {
  const ada = await personAway(browser, 'ada');
  const eve = await personAway(browser, 'eve', [ada.broker]);
  const other = await loginAway(browser, eve.name, [ada.broker, eve.broker]);
  const eveId = await idOf(eve);
  const title = `Club of ${ada.name}`;
  const group = await newGroup(ada, title, eveId);
  for (const one of [ada, eve, other]) await open(one, title);
  await say(eve.page, 'While I was in');
  await say(other.page, 'So was I');

  // One of Eve's sessions writes all the time, the other one writes offline.
  await other.context.setOffline(true);
  await say(other.page, 'Too late, from there');
  const id = `/conversations/${group}`;
  let removed = false;
  const stream = (async () => {
    for (let n = 1; !removed || n % 5 !== 0; n++) {
      // Where the composer is gone already, this is done.
      if ((await field(eve.page).count()) === 0) return;
      await field(eve.page)
        .fill(`stream ${n}.`, { timeout: 1_000 })
        .then(() => field(eve.page).press('Enter', { timeout: 1_000 }))
        .catch(() => undefined);
    }
  })();
  await expect(bubble(ada.page, 'stream 3.')).toBeVisible();
  const { seq } = await call<{ seq: number }>(ada, 'DELETE', `${id}/members/${eveId}`);
  removed = true;
  await stream;
  await expect(eve.page.getByText('You are no longer part of this group')).toBeVisible();
  await other.context.setOffline(false);
  const over = other.page.getByText('You are no longer part of this group').first();
  await expect(over).toBeVisible(RECONNECT);
  const refused = call(eve, 'POST', `${id}/messages`, { text: 'Too late, by hand' });
  await expect(refused).rejects.toThrow(/40[34]/);

  // What is stored now comes after all that was refused.
  await say(ada.page, 'Only for members');
  await expect(bubble(ada.page, 'Only for members').getByLabel('Sent')).toBeVisible();
  const { events } = await call<{ events: Slot[] }>(ada, 'GET', `${id}/events?after=0&limit=200`);
  const late = events.filter(
    (one) => one.from === eveId && one.type === 'message' && one.seq > seq,
  );
  expect(late).toEqual([]);
  expect(events.some((one) => one.seq > seq && one.body?.text === 'Only for members')).toBe(true);
  await expect(bubble(ada.page, 'Too late')).toHaveCount(0);
  for (const one of [eve, other]) await expect(bubble(one.page, 'Only for')).toHaveCount(0);
  await closeAll(ada, eve, other);
});

test('logging out ends the sockets of that session on every broker at once', async ({
  browser,
}) => {
  const ada = await personAway(browser, 'ada');
  const second = await windowAway(browser, ada, [ada.broker]);
  const third = await windowAway(browser, ada, [ada.broker, second.broker]);
  const elsewhere = await loginAway(browser, ada.name, []);
  const bob = await personAway(browser, 'bob');
  await ada.page.goto('/settings/profile');
  const button = ada.page.getByRole('button', { name: 'Log out' });
  await expect(button).toBeVisible();
  await apart(ada, second, third);
  for (const one of [second, third]) one.socket.closedAt = null;
  const begun = Date.now();
  await button.click();
  for (const one of [second, third]) {
    await expect.poll(() => one.socket.closedAt).not.toBeNull();
    expect((one.socket.closedAt ?? 0) - begun).toBeLessThan(LOGOUT_MS_MAX);
    await expect(one.page.getByRole('button', { name: 'Log in' })).toBeVisible();
  }
  // Another session of the same person goes on, as what it was.
  await talkTo(elsewhere.page, bob.name);
  await say(elsewhere.page, 'Still here');
  await expect(row(bob.page, ada.name)).toContainText('Still here');
  await closeAll(ada, second, third, elsewhere, bob);
});

/** Both write their numbered words while something happens to the cluster; then both pages have each once, in order. */
async function writeThrough(ada: Placed, bob: Placed, count: number, during: () => Promise<void>) {
  const write = async (one: Placed, word: string) => {
    for (const text of numbered(word, count)) await say(one.page, text);
  };
  await Promise.all([write(ada, 'ada'), write(bob, 'bob'), during()]);
  for (const one of [ada, bob]) {
    for (const word of ['ada', 'bob']) {
      const wanted = numbered(word, count);
      await expect.poll(() => texts(one.page, word), RECONNECT).toEqual(wanted);
    }
    await expect(one.page.locator('[data-message]').getByLabel('Sending')).toHaveCount(
      0,
      RECONNECT,
    );
    await one.page.reload();
    for (const word of ['ada', 'bob']) {
      await expect.poll(() => texts(one.page, word)).toEqual(numbered(word, count));
    }
  }
}

async function pairAway(browser: Parameters<typeof personAway>[0]): Promise<[Placed, Placed]> {
  // Rows that are out of sight are not drawn: high enough for all.
  const options = { viewport: { width: 1000, height: 6000 } };
  const ada = await personAway(browser, 'ada', [], options);
  const bob = await personAway(browser, 'bob', [], options);
  await talkTo(ada.page, bob.name);
  await say(ada.page, 'Begin');
  await open(bob, ada.name);
  await expect(bubble(bob.page, 'Begin')).toBeVisible();
  await apart(ada, bob);
  return [ada, bob];
}

test('a broker is killed while two people chat: the page goes on with another one', async ({
  browser,
}) => {
  test.setTimeout(120_000);
  const [ada, bob] = await pairAway(browser);
  const place = ada.broker;
  await writeThrough(ada, bob, 15, async () => {
    await expect(bubble(bob.page, 'ada 3.')).toBeVisible();
    await operate('kill', place);
    await expect.poll(() => ada.socket.node, RECONNECT).not.toBeNull();
    expect(await ada.socket.broker()).not.toBe(place);
  });
  await operate('restart', place);
  await closeAll(ada, bob);
});

test('all brokers are restarted, one after the other, while two people chat', async ({
  browser,
}) => {
  test.setTimeout(120_000);
  const [ada, bob] = await pairAway(browser);
  const before = ada.socket.welcomes + bob.socket.welcomes;
  await writeThrough(ada, bob, 40, async () => {
    for (const name of await brokerNames()) await operate('restart', name);
  });
  expect(ada.socket.welcomes + bob.socket.welcomes).toBeGreaterThan(before);
  await closeAll(ada, bob);
});
