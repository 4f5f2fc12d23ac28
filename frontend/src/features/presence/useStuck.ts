/**
 * Whether messages wait although the server is connected: it refuses them for now, and they are sent again.
 * Owns: how long that may last unnoticed. Never does: send. Talks to: the client. Start reading at: `useStuck`.
 */
import { useEffect, useRef, useState } from 'react';
import { useChat } from '../../lib/chat';
import { useStore } from '../../lib/useStore';

/** An ordinary ack takes milliseconds; a restart of a shard a second. */
const STUCK_MS = 6_000;

export function useStuck(connected: boolean): boolean {
  const unsent = useStore(useChat().unsent);
  const before = useRef(0);
  const [moved, setMoved] = useState(0);
  const [stuck, setStuck] = useState(false);
  useEffect(() => {
    // More of them is no sign of life; fewer is.
    if (unsent < before.current) setMoved((turn) => turn + 1);
    before.current = unsent;
  }, [unsent]);
  const waiting = connected && unsent > 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: each turn starts the clock again
  useEffect(() => {
    setStuck(false);
    if (!waiting) return;
    const timer = setTimeout(() => setStuck(true), STUCK_MS);
    return () => clearTimeout(timer);
  }, [waiting, moved]);
  return stuck;
}
