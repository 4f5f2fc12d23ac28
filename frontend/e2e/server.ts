/**
 * A server of a test's own, for what the shared one does not allow. Owns: its process and its folder. Needs WEBCHAT_BIN.
 * Never does: outlive the test that started it, if that calls `stop`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type OwnServer = {
  url: string;
  process: ChildProcess;
  /** Kills it; what it keeps stays, and the next start finds it at the same address. */
  kill: () => Promise<void>;
  again: () => Promise<OwnServer>;
  stop: () => Promise<void>;
};
type Place = { port: string; data: string };

/** Starts it on a free port and waits until it says its address. */
export async function startServer(...options: string[]): Promise<OwnServer> {
  const data = await mkdtemp(join(tmpdir(), 'webchat-e2e-'));
  return start({ port: '0', data }, options);
}

async function start({ port, data }: Place, options: string[]): Promise<OwnServer> {
  const binary = process.env.WEBCHAT_BIN;
  if (!binary) throw new Error('WEBCHAT_BIN names no server');
  const ports = ['--port', port, '--admin-port', '0'];
  const child = spawn(binary, [...ports, '--data', data, ...options], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  const stop = async () => {
    await kill();
    await rm(data, { recursive: true, force: true });
  };
  const lines = createInterface({ input: child.stdout });
  const address = new Promise<string>((resolve) => {
    lines.on('line', (line) => {
      const found = /http:\/\/localhost:\d+/.exec(line);
      if (found) resolve(found[0]);
    });
  });
  const url = await Promise.race([address, ended]);
  if (url) {
    const again = () => start({ port: new URL(url).port, data }, options);
    return { url, process: child, kill, again, stop };
  }
  await stop();
  throw new Error('the server ended before it was ready');
}
