/**
 * Where the person is in the timeline: first place, jumps, what counts as read. Owns: the flash, the "away from the end" state.
 * Talks to: the window (scroll position), the client (read cursor).
 */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import type { TimelineHandle, TimelineView } from '../../realtime';
import { toast } from '../../ui/Toasts';
import { type Row, startsAbove } from './rows';
import type { Window } from './useWindow';

type Options = {
  conversation: string;
  handle: TimelineHandle;
  rows: readonly Row[];
  list: Window;
  view: TimelineView;
  unreadAfter: number | null;
  target: { seq: number; turn: number } | null;
  me: string;
};
const FLASH_MS = 2_000;
/** By then the page that was jumped to is drawn. */
const LINE_WAIT_MS = 1_000;

export function useReading({
  conversation,
  handle,
  rows,
  list,
  view,
  unreadAfter,
  target,
  me,
}: Options) {
  const chat = useChat();
  const [away, setAway] = useState(false);
  const [flash, setFlash] = useState<string | null>(null);
  const [leftAt, setLeftAt] = useState(0);
  const placed = useRef(false);
  const turn = useRef(0);
  const newest = newestSeq(view);

  // The way to the unread line leads through a page that has to be loaded first.
  const wantsUnread = useRef(false);
  useLayoutEffect(() => {
    if (!wantsUnread.current || !rows.some((row) => row.kind === 'unread')) return;
    wantsUnread.current = false;
    list.scrollTo('$unread', 'top');
  });
  const toUnread = useCallback(async () => {
    if (unreadAfter === null) return;
    wantsUnread.current = true;
    try {
      await handle.jumpTo(unreadAfter + 1);
      // There may be no line after all: what was unread can be hidden or deleted since.
      setTimeout(() => {
        wantsUnread.current = false;
      }, LINE_WAIT_MS);
    } catch (failure) {
      wantsUnread.current = false;
      toast(explain(failure));
    }
  }, [handle, unreadAfter]);

  // The first place: the unread line if there is one, else the end.
  useLayoutEffect(() => {
    if (placed.current || view.phase !== 'ready') return;
    placed.current = true;
    if (target !== null || unreadAfter === null) return;
    if (rows.some((row) => row.kind === 'unread')) list.scrollTo('$unread', 'top');
    else if (startsAbove(view, unreadAfter)) void toUnread();
  });

  useLayoutEffect(() => {
    if (!target || target.turn === turn.current) return;
    const row = rows.find(
      (one) =>
        (one.kind === 'message' || one.kind === 'system') &&
        'seq' in one.entry &&
        one.entry.seq === target.seq,
    );
    if (!row) return;
    turn.current = target.turn;
    list.scrollTo(row.key, 'center');
    setFlash(row.key);
  });
  useEffect(() => {
    if (flash === null) return;
    const timer = setTimeout(() => setFlash(null), FLASH_MS);
    return () => clearTimeout(timer);
  }, [flash]);

  // An own message that was just written is shown, wherever one was.
  const pendings = view.entries.filter((entry) => entry.kind === 'pending').length;
  const before = useRef(pendings);
  useLayoutEffect(() => {
    if (pendings > before.current) list.scrollToEnd();
    before.current = pendings;
  });

  const look = useCallback(() => {
    const end = list.isAtEnd() && !view.moreAfter;
    setAway(!end);
    // On the way to what is new nothing has been read yet.
    if (wantsUnread.current) return;
    if (end && document.visibilityState === 'visible' && document.hasFocus() && newest > 0) {
      chat.markRead(conversation, newest);
    }
  }, [chat, conversation, list.isAtEnd, newest, view.moreAfter]);
  useEffect(look);
  useEffect(() => {
    document.addEventListener('visibilitychange', look);
    addEventListener('focus', look);
    return () => {
      document.removeEventListener('visibilitychange', look);
      removeEventListener('focus', look);
    };
  }, [look]);
  useEffect(() => {
    if (!away) setLeftAt(newest);
  }, [away, newest]);

  let below = 0;
  if (away) {
    for (const entry of view.entries) {
      if (entry.kind === 'message' && entry.seq > leftAt && entry.from !== me) below += 1;
    }
  }
  return {
    unreadAbove: unreadAfter !== null && startsAbove(view, unreadAfter),
    toUnread,
    away: away && view.phase === 'ready',
    below: leftAt > 0 ? below : 0,
    flash,
    onScroll: look,
  };
}

function newestSeq(view: TimelineView): number {
  for (let at = view.entries.length - 1; at >= 0; at--) {
    const entry = view.entries[at];
    if (entry && entry.kind !== 'pending') return entry.seq;
  }
  return 0;
}
