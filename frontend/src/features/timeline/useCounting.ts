/**
 * Tells the client which own messages are on screen, so that their readers are counted where nobody is named.
 * Owns: nothing. Talks to: the client. Start reading at: `useCounting`; the rest is in realtime/counts.ts.
 */
import { useEffect } from 'react';
import { useChat } from '../../lib/chat';
import type { Row } from './rows';

/** Seqs of own stored messages among the rows, in their order. */
export function ownSeqs(rows: readonly Row[], me: string): number[] {
  return rows.flatMap((row) => {
    if (row.kind !== 'message' || row.entry.kind !== 'message') return [];
    const { entry } = row;
    return entry.from === me && !entry.deleted ? [entry.seq] : [];
  });
}

export function useCounting(conversation: string, rows: readonly Row[], me: string): void {
  const chat = useChat();
  // As text, so that a redraw that shows the same messages is no news.
  const key = ownSeqs(rows, me).join(',');
  useEffect(() => {
    chat.lookAt(conversation, key === '' ? [] : key.split(',').map(Number));
  }, [chat, conversation, key]);
  useEffect(() => () => chat.lookAt(conversation, []), [chat, conversation]);
}
