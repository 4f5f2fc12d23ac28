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
  data: string;
  process: ChildProcess;
  stop: () => Promise<void>;
};

/** Starts it on free ports and waits until it says its address. */
export async function startServer(...options: string[]): Promise<OwnServer> {
  const binary = process.env.WEBCHAT_BIN;
  if (!binary) throw new Error('WEBCHAT_BIN names no server');
  const data = await mkdtemp(join(tmpdir(), 'webchat-e2e-'));
  const ports = ['--port', '0', '--admin-port', '0'];
  const child = spawn(binary, [...ports, '--data', data, ...options], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
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
  if (url) return { url, data, process: child, stop };
  await stop();
  throw new Error('the server ended before it was ready');
}
