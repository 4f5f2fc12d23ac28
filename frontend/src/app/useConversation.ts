import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useMessageAction } from '../api/queries/conversations';
import type { Conversation, Me } from '../api/types';
import type { MessageActions, Viewer } from '../features/timeline/actions';
import { useChat } from '../lib/chat';
import { explain } from '../lib/names';
import { linkTo } from '../lib/router';
import { texts } from '../lib/texts';
import type { MessageEntry, TimelineHandle, TimelineView } from '../realtime';
import { copy } from '../ui/copy';
import { toast } from '../ui/Toasts';

/** What the composer is about. */
export type Focus =
  | { kind: 'new' }
  | { kind: 'reply'; entry: MessageEntry }
  /** `text`: what could not be saved, to go on from; else that of the message. */
  | { kind: 'edit'; entry: MessageEntry; text?: string };
const NEW: Focus = { kind: 'new' };

type Options = {
  me: Me;
  conversation: Conversation | null;
  id: string;
  at: number | null;
  handle: TimelineHandle;
  view: TimelineView;
};

/** The state of one open conversation that timeline and composer share, and its actions. */
export function useConversation({ me, conversation, id, at, handle, view }: Options) {
  const chat = useChat();
  const action = useMessageAction(id);
  const [focus, setFocus] = useState<Focus>(NEW);
  const [deleting, setDeleting] = useState<MessageEntry | null>(null);
  const [reporting, setReporting] = useState<MessageEntry | null>(null);
  /** The day from which a jump to another one starts. */
  const [day, setDay] = useState<number | null>(null);
  const [target, setTarget] = useState<{ seq: number; turn: number } | null>(null);
  const latest = useRef({ view, mutate: action.mutateAsync });
  latest.current = { view, mutate: action.mutateAsync };

  const jump = useCallback(
    async (seq: number) => {
      const known = latest.current.view.entries.some(
        (entry) => 'seq' in entry && entry.seq === seq,
      );
      if (!known) await handle.jumpTo(seq);
      setTarget((before) => ({ seq, turn: (before?.turn ?? 0) + 1 }));
    },
    [handle],
  );
  useEffect(() => {
    if (at !== null) void jump(at).catch((failure: unknown) => toast(explain(failure)));
  }, [at, jump]);

  const viewer = useMemo<Viewer>(() => {
    const direct = conversation?.kind !== 'group';
    const role = conversation?.role ?? null;
    return {
      conversation: id,
      me: me.id,
      username: me.username,
      direct,
      canWrite: direct || role !== null,
      canModerate: !direct && (role === 'admin' || role === 'owner'),
    };
  }, [id, me.id, me.username, conversation?.kind, conversation?.role]);

  const actions = useMemo<MessageActions>(
    () => ({
      onReply: (entry) => setFocus({ kind: 'reply', entry }),
      onEdit: (entry) => setFocus({ kind: 'edit', entry }),
      onDelete: setDeleting,
      onReport: setReporting,
      onReact: (seq, emoji, on) =>
        void latest.current
          .mutate({ do: 'react', seq, emoji, on })
          .catch((failure: unknown) => toast(explain(failure))),
      onCopy: (text) => void copy(text),
      onCopyLink: (seq) => void copy(linkTo(id, seq), texts.linkCopied),
      onDay: (ts) => setDay(ts),
      onJump: (seq) => void jump(seq).catch((failure: unknown) => toast(explain(failure))),
      onRetry: (pending) => chat.retry(pending),
      onDiscard: (pending) => chat.discard(pending),
    }),
    [chat, id, jump],
  );

  const editLast = () => {
    const last = view.entries.findLast(
      (entry) => entry.kind === 'message' && entry.from === me.id && !entry.deleted,
    );
    if (last?.kind !== 'message') return false;
    setFocus({ kind: 'edit', entry: last });
    return true;
  };
  const saveEdit = async (entry: MessageEntry, text: string) => {
    if (text !== entry.text) await action.mutateAsync({ do: 'edit', seq: entry.seq, text });
  };
  const confirmDelete = async () => {
    if (deleting) await action.mutateAsync({ do: 'delete', seq: deleting.seq });
  };
  const confirmReport = async (reason: string) => {
    if (reporting) await action.mutateAsync({ do: 'report', seq: reporting.seq, reason });
    toast(texts.timeline.reported);
  };
  return {
    viewer,
    actions,
    focus,
    setFocus,
    target,
    deleting,
    setDeleting,
    reporting,
    setReporting,
    editLast,
    saveEdit,
    confirmDelete,
    confirmReport,
    day,
    setDay,
    jump,
  };
}
