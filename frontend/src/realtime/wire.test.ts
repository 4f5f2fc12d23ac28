import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CLOSE_CODES, ERROR_CODES, reconnectOf, retryOf } from './codes';
import { parseFrame } from './wire';

const fixture = <T>(name: string): T =>
  JSON.parse(
    readFileSync(
      new URL(`../../../crates/protocol/fixtures/${name}.json`, import.meta.url),
      'utf8',
    ),
  ) as T;

describe('wire', () => {
  const frames = fixture<Record<string, unknown>[]>('server_frames');

  it.each(frames.map((frame, i) => [`${frame.type} (${i})`, frame]))(
    'reads the golden %s',
    (_, frame) => {
      expect(parseFrame(JSON.stringify(frame))).toEqual(frame);
    },
  );

  it('[R7] ignores unknown fields and unknown types', () => {
    for (const frame of frames) {
      expect(parseFrame(JSON.stringify({ ...frame, later: { x: 1 } }))).not.toBeNull();
    }
    expect(parseFrame('{"type":"constructor"}')).toBeNull();
    expect(parseFrame('{"type":"brand_new","x":1}')).toBeNull();
  });

  it('ignores what is malformed: a required field missing or of another type', () => {
    for (const bad of [
      '',
      '[]',
      'null',
      '{}',
      '{"type":7}',
      '{"type":"beat"}',
      '{"type":"beat","at":1}',
    ]) {
      expect(parseFrame(bad)).toBeNull();
    }
    for (const frame of frames.filter((f) => 'seq' in f && f.type !== 'error')) {
      expect(parseFrame(JSON.stringify({ ...frame, seq: '12' }))).toBeNull();
      expect(parseFrame(JSON.stringify({ ...frame, seq: 1.5 }))).toBeNull();
      expect(parseFrame(JSON.stringify({ ...frame, conversation: 'xyz' }))).toBeNull();
    }
  });

  it('[R41] knows what to do about every error code', () => {
    const table = fixture<Record<string, string>>('error_codes');
    expect(Object.fromEntries(ERROR_CODES.map((code) => [code, retryOf(code)]))).toEqual(table);
    expect(retryOf('code_of_a_later_server')).toBe('later');
  });

  it('[R42] knows what to do about every close code, and backs off at unknown ones', () => {
    const table = fixture<Record<string, string>>('close_codes');
    expect(Object.fromEntries(CLOSE_CODES.map((code) => [code, reconnectOf(code)]))).toEqual(table);
    for (const code of [1005, 1006, 4999]) expect(reconnectOf(code)).toBe('backoff');
  });
});
