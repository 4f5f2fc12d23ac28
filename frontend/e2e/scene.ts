/**
 * A workspace with talk in it, for pictures. Owns: the people and what they say. Needs an empty instance: the first of them
 * becomes its administrator. Talks to: the HTTP api, as its people.
 */
import { type Browser, type BrowserContext, expect } from '@playwright/test';

const PASSWORD = 'webchat-pictures';
const PEOPLE = {
  ada: 'Ada Byron',
  grace: 'Grace Murray',
  alan: 'Alan Mathison',
  mei: '林 美',
  layla: 'ليلى حداد',
  max: 'Maximiliane von Konstantinopel-Featherstonehaugh',
  tom: 'Tom Kilburn',
} as const;
export type Username = keyof typeof PEOPLE;

export type Voice = {
  id: string;
  context: BrowserContext;
  post: <T>(path: string, data?: object) => Promise<T>;
  put: (path: string, data?: object) => Promise<void>;
  patch: (path: string, data: object) => Promise<void>;
  remove: (path: string) => Promise<void>;
};
export type Cast = Record<Username, Voice>;

export async function cast(browser: Browser): Promise<Cast> {
  const found: Partial<Cast> = {};
  for (const username of Object.keys(PEOPLE) as Username[])
    found[username] = await voice(browser, username);
  return found as Cast;
}

async function voice(browser: Browser, username: Username): Promise<Voice> {
  const context = await browser.newContext();
  const call = async (method: string, path: string, data: object = {}) => {
    const answer = await context.request.fetch(path, {
      method,
      data,
      headers: { 'X-WebChat': '1', 'Idempotency-Key': key() },
    });
    expect(answer.ok(), `${method} ${path}: ${answer.status()}`).toBe(true);
    return answer.status() === 204 ? {} : answer.json();
  };
  const reply = await call('POST', '/api/auth/register', {
    username,
    password: PASSWORD,
    display_name: PEOPLE[username],
  });
  return {
    id: reply.user.id,
    context,
    post: (path, data) => call('POST', path, data),
    put: (path, data) => call('PUT', path, data),
    patch: (path, data) => call('PATCH', path, data),
    remove: (path) => call('DELETE', path),
  };
}

function key(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export type Said = (who: Username, text: string, reply_to?: number) => Promise<number>;

export function talkIn(people: Cast, conversation: string): Said {
  return async (who, text, reply_to) => {
    const path = `/api/conversations/${conversation}/messages`;
    const { seq } = await people[who].post<{ seq: number }>(path, { text, reply_to });
    return seq;
  };
}

export async function group(people: Cast, title: string, members: Username[]): Promise<string> {
  const [owner, ...others] = members as [Username, ...Username[]];
  const body = { title, members: others.map((one) => people[one].id), history: 'all' };
  return (await people[owner].post<{ id: string }>('/api/conversations', body)).id;
}

export async function direct(people: Cast, one: Username, other: Username): Promise<string> {
  const body = { user: people[other].id };
  return (await people[one].post<{ id: string }>('/api/conversations/direct', body)).id;
}

const RUST = `\`\`\`rust
let verdict = log.append(&batch).await?;
outbox.push(Reply::Ack { no, seq: verdict.seq });
\`\`\``;

/** The conversation of the README: a launch, with everything a message can be. */
export async function launch(people: Cast): Promise<string> {
  const id = await group(people, 'Launch 🚀', ['ada', 'grace', 'alan', 'mei', 'tom', 'layla']);
  const say = talkIn(people, id);
  const react = async (seq: number, emoji: string, ...who: Username[]) => {
    for (const one of who)
      await people[one].put(
        `/api/conversations/${id}/messages/${seq}/reactions/${encodeURIComponent(emoji)}`,
      );
  };
  await say('tom', 'Morning! Is the release branch cut?');
  await say('ada', 'Yes, since eight. Notes are in **CHANGELOG.md**');
  const soak = await say(
    'grace',
    'Soak test went through the night: 40 million messages, *none* lost',
  );
  await react(soak, '🎉', 'ada', 'alan', 'mei', 'tom');
  await react(soak, '🚀', 'alan', 'ada');
  const why = await say('alan', 'How do you know none is lost?');
  await say('grace', `Every ack is checked against the log:\n${RUST}`, why);
  const edited = await say('mei', '太好了！中文搜索也测过了，没有问题');
  await people.mei.put(`/api/conversations/${id}/messages/${edited}`, {
    text: '太好了！中文搜索也测过了，没有问题 ✅',
  });
  await react(edited, '👍', 'ada', 'layla');
  await say('layla', 'رائع! أراكم في الثالثة');
  const question = await say('tom', '@ada shall we ship at **15:00**?');
  await say('ada', 'Ship it', question);
  const last = await say('ada', 'Dashboard: https://status.example.org/launch');
  await react(last, '❤️', 'grace');
  await say('alan', 'Cake at four then 🍰');
  return id;
}

/** Everything that breaks a layout: long words, long names, long messages, other scripts. */
export async function torture(people: Cast, title: string): Promise<string> {
  const id = await group(people, title, ['ada', 'max', 'layla', 'mei']);
  const say = talkIn(people, id);
  await say('max', 'Donaudampfschifffahrtsgesellschaftskapitän'.repeat(6));
  await say(
    'layla',
    'هذه رسالة طويلة مكتوبة من اليمين إلى اليسار مع `code` ورابط https://example.org',
  );
  await say('ada', 'The quick brown fox jumps over the lazy dog. '.repeat(22).slice(0, 1000));
  const code = `const row = { ${'aLongKey: 1, '.repeat(12)} };\nreturn row;`;
  await say('max', `\`\`\`ts\n${code}\n\`\`\`\nand *then*`);
  await say('mei', '> 昨天的会议记录\n我已经整理好了，今天下午发给大家。');
  await say('max', '🎉🎉');
  const gone = await say('ada', 'Forget this');
  await people.ada.remove(`/api/conversations/${id}/messages/${gone}`);
  return id;
}

export type Scene = { people: Cast; launch: string; torture: string; direct: string };

const LONG = 'A group whose name is far too long for any list, head or panel to show';

/** `title`: of the group in which everything is long. */
export async function scene(browser: Browser, title = LONG): Promise<Scene> {
  const people = await cast(browser);
  await people.tom.patch('/api/me', { about: 'Release engineering. Tea, not coffee.' });
  const tortured = await torture(people, title);
  const book = await group(people, 'Book club', ['layla', 'ada', 'mei']);
  await talkIn(people, book)('layla', 'Chapter six until Thursday 📚');
  await people.ada.patch(`/api/conversations/${book}/mine`, { muted: true });
  const withMax = await direct(people, 'max', 'ada');
  await talkIn(people, withMax)('max', 'Could you look at my draft? It is only forty pages');
  const withMei = await direct(people, 'mei', 'ada');
  await talkIn(people, withMei)('mei', '明天见！');
  const withGrace = await direct(people, 'grace', 'ada');
  const say = talkIn(people, withGrace);
  await say('grace', 'Do you have the notes on the engine?');
  await say('ada', 'On my desk. I will bring them tonight');
  await say('grace', 'No hurry. Thank you!');
  const id = await launch(people);
  await people.ada.patch(`/api/conversations/${id}/mine`, { pinned: true });
  return { people, launch: id, torture: tortured, direct: withGrace };
}
