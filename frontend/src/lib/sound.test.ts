// @vitest-environment happy-dom
import { afterEach, expect, it, vi } from 'vitest';
import { armSound, playSound } from './sound';

afterEach(() => vi.unstubAllGlobals());

it('is silent until the page was used, then plays two notes', () => {
  const started: number[] = [];
  const param = () => ({
    value: 0,
    setValueAtTime: vi.fn(),
    linearRampToValueAtTime: vi.fn(),
    exponentialRampToValueAtTime: vi.fn(),
  });
  class FakeAudio {
    currentTime = 5;
    destination = {};
    resume = async () => undefined;
    createGain = () => ({ gain: param(), connect: (to: unknown) => to });
    createOscillator = () => ({
      frequency: param(),
      connect: (to: unknown) => to,
      start: (at: number) => started.push(at),
      stop: vi.fn(),
    });
  }
  vi.stubGlobal('AudioContext', FakeAudio);
  const stop = armSound();
  playSound();
  expect(started).toEqual([]);
  dispatchEvent(new Event('pointerdown'));
  playSound();
  expect(started).toHaveLength(2);
  expect(started[0]).toBe(5);
  stop();
});
