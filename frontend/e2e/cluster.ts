/**
 * The cluster of the run: which broker a page is on, and what happens to its processes. Needs WEBCHAT_CLUSTER, the folder of
 * the starter's state file, and WEBCHAT_LOADTEST. Never does: signal a process itself.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, type BrowserContext, expect, type Page } from '@playwright/test';
import { freshName, login, type Person, register } from './people';

type Row = { name: string; kind: string; admin: number | null };
/** More reloads than it takes to meet each of three brokers, by far. */
const MOVES_MAX = 15;

const setting = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: cargo xtask e2e cluster`);
  return value;
};

async function brokers(): Promise<Row[]> {
  const state = await readFile(join(setting('WEBCHAT_CLUSTER'), 'cluster.json'), 'utf8');
  return (JSON.parse(state).rows as Row[]).filter((row) => row.kind === 'broker');
}

export async function brokerNames(): Promise<string[]> {
  return (await brokers()).map((row) => row.name);
}

/** Which process a `node` of a welcome is. Null: none that runs now. */
async function brokerOf(node: string): Promise<string | null> {
  for (const { name, admin } of await brokers()) {
    const page = await fetch(`http://127.0.0.1:${admin}/metrics`).then(
      (answer) => answer.text(),
      () => '',
    );
    if (page.includes(`node="${node}"`)) return name;
  }
  return null;
}

/** One word of an operator: `kill` is -9; `restart` drains first, and waits until it is ready again. */
export async function operate(what: 'kill' | 'restart', name: string): Promise<void> {
  const place = ['--dir', setting('WEBCHAT_CLUSTER')];
  await promisify(execFile)(setting('WEBCHAT_LOADTEST'), ['cluster', what, name, ...place]);
}

/** The socket of a page, as the browser's own tools see it. */
export class Socket {
  /** Of the last welcome; null: not welcomed yet, or closed. */
  node: string | null = null;
  closedAt: number | null = null;
  welcomes = 0;

  constructor(page: Page) {
    page.on('websocket', (socket) => {
      let mine: string | null = null;
      socket.on('framereceived', ({ payload }) => {
        if (typeof payload !== 'string' || !payload.startsWith('{"type":"welcome"')) return;
        mine = JSON.parse(payload).node;
        this.node = mine;
        this.welcomes += 1;
      });
      socket.on('close', () => {
        if (this.node !== mine) return;
        this.node = null;
        this.closedAt = Date.now();
      });
    });
  }

  /** Waits until it is welcomed somewhere, and says where. */
  async broker(): Promise<string> {
    let name: string | null = null;
    const look = async () => {
      name = this.node && (await brokerOf(this.node));
      return name;
    };
    await expect.poll(look, { message: 'on no broker', timeout: 30_000 }).not.toBeNull();
    return name ?? '';
  }
}

export type Placed = Person & { socket: Socket; broker: string };

async function placed(
  context: BrowserContext,
  name: string,
  taken: string[],
  enter: (page: Page) => Promise<unknown>,
): Promise<Placed> {
  const page = await context.newPage();
  const one = { name, context, page, socket: new Socket(page), broker: '' };
  await enter(page);
  await moveAway(one, taken);
  return one;
}

/** Reloads until the socket is on a broker that nobody has taken: nginx gives the one with the fewest connections. */
async function moveAway(one: Placed, taken: string[]): Promise<void> {
  for (let n = 0; n < MOVES_MAX; n++) {
    one.broker = await one.socket.broker();
    if (!taken.includes(one.broker)) return;
    one.socket.node = null;
    await one.page.reload();
  }
  throw new Error(`${MOVES_MAX} connections, all on ${taken.join(', ')}`);
}

/** Each on a broker of its own again: whoever went to another address has another socket. */
export async function apart(...people: Placed[]): Promise<void> {
  const taken: string[] = [];
  for (const one of people) {
    await moveAway(one, taken);
    taken.push(one.broker);
  }
}

/** A new person, on a broker of their own. */
export async function personAway(
  browser: Browser,
  prefix: string,
  taken: string[] = [],
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<Placed> {
  const name = freshName(prefix);
  return placed(await browser.newContext(options), name, taken, (page) => register(page, name));
}

/** Another login of a person. */
export async function loginAway(browser: Browser, name: string, taken: string[]): Promise<Placed> {
  return placed(await browser.newContext(), name, taken, (page) => login(page, name));
}

/**
 * Another window of the same session. Its browser knows nothing of the first one's: what ends it comes from the server, not
 * from a tab beside it.
 */
export async function windowAway(browser: Browser, of: Placed, taken: string[]): Promise<Placed> {
  const context = await browser.newContext({ storageState: await of.context.storageState() });
  return placed(context, of.name, taken, (page) => page.goto(new URL(of.page.url()).pathname));
}

/** A call of the api as this person. */
export async function call<T>(
  { context }: Person,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  data?: unknown,
): Promise<T> {
  const headers = { 'X-WebChat': '1' };
  const answer = await context.request.fetch(`/api${path}`, { method, data, headers });
  const text = await answer.text();
  if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()} ${text}`);
  return (text ? JSON.parse(text) : undefined) as T;
}

export async function closeAll(...people: Person[]): Promise<void> {
  for (const person of people) await person.context.close();
}
