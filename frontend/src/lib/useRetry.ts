/** Tries again by itself while something has failed. Owns: the pace. Never does: the work. */
import { useEffect, useRef } from 'react';

const EVERY_MS = 5_000;

export function useRetry(failed: boolean, again: () => void): void {
  const latest = useRef(again);
  latest.current = again;
  useEffect(() => {
    if (!failed) return;
    const timer = setInterval(() => latest.current(), EVERY_MS);
    return () => clearInterval(timer);
  }, [failed]);
}
