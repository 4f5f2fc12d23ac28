import { useCallback, useEffect, useMemo, useRef } from 'react';
import { useMembers } from '../api/queries/conversations';
import type { Conversation } from '../api/types';
import { Composer, type Mode } from '../features/composer/Composer';
import type { Viewer } from '../features/timeline/actions';
import { useChat } from '../lib/chat';
import { plainText } from '../lib/markup';
import { explain, useName } from '../lib/names';
import { texts } from '../lib/texts';
import type { MessageEntry } from '../realtime';
import { toast } from '../ui/Toasts';
import type { Focus } from './useConversation';

type Props = {
  id: string;
  /** Null until the list of conversations is there. */
  conversation: Conversation | null;
  title: string;
  viewer: Viewer;
  focus: Focus;
  onFocus: (focus: Focus) => void;
  onEditLast: () => boolean;
  onEdited: (entry: MessageEntry, text: string) => Promise<void>;
};
const DRAFT_EVERY_MS = 800;

/** The composer of one conversation: sends, edits, and keeps the draft. */
export function ConversationComposer({
  id,
  conversation,
  title,
  viewer,
  focus,
  onFocus,
  onEditLast,
  onEdited,
}: Props) {
  const chat = useChat();
  const group = conversation?.kind === 'group';
  const members = useMembers(id, group === true);
  const people = useMemo(
    () =>
      members.data?.pages
        .flatMap((page) => page.members.map((member) => member.user))
        .filter((user) => user.id !== viewer.me) ?? [],
    [members.data, viewer.me],
  );
  /** What is in the field while nothing is edited: it is there again after an edit. */
  const typed = useRef(conversation?.draft ?? '');
  const saving = useRef<{ timer: ReturnType<typeof setTimeout>; text: string } | null>(null);
  const replyName = useName(focus.kind === 'reply' ? focus.entry.from : null);

  const saveNow = useCallback(() => {
    if (!saving.current) return;
    clearTimeout(saving.current.timer);
    const { text } = saving.current;
    saving.current = null;
    if (text !== (chat.conversations.get().byId.get(id)?.draft ?? ''))
      chat.patchMine(id, { draft: text }).catch(() => undefined);
  }, [chat, id]);
  useEffect(() => {
    // Closed or reloaded within the pause after the last key.
    addEventListener('pagehide', saveNow);
    return () => {
      removeEventListener('pagehide', saveNow);
      saveNow();
    };
  }, [saveNow]);

  const editing = focus.kind === 'edit';
  const onText = useCallback(
    (text: string) => {
      if (editing) return;
      typed.current = text;
      if (text) chat.typed(id);
      clearTimeout(saving.current?.timer);
      saving.current = { text, timer: setTimeout(saveNow, DRAFT_EVERY_MS) };
    },
    [chat, id, editing, saveNow],
  );
  const onSend = (text: string) => {
    if (focus.kind === 'edit') {
      const { entry } = focus;
      onEdited(entry, text).catch((failure: unknown) => {
        toast(explain(failure));
        onFocus({ kind: 'edit', entry, text });
      });
    } else {
      const outcome = chat.publish(
        id,
        focus.kind === 'reply' ? { text, reply_to: focus.entry.seq } : { text },
      );
      if (!outcome.ok) toast(texts.somethingWrong);
      clearTimeout(saving.current?.timer);
      saving.current = null;
      typed.current = '';
      if (conversation?.draft) chat.patchMine(id, { draft: '' }).catch(() => undefined);
    }
    onFocus({ kind: 'new' });
  };

  if (conversation && !viewer.canWrite)
    return <p className="composer__closed">{texts.composer.notMember}</p>;
  const mode: Mode =
    focus.kind === 'reply'
      ? {
          kind: 'reply',
          name: focus.entry.from === viewer.me ? texts.you : replyName,
          text: plainText(focus.entry.text),
        }
      : focus.kind === 'edit'
        ? { kind: 'edit', text: plainText(focus.entry.text) }
        : { kind: 'new' };
  return (
    <Composer
      title={title}
      textKey={focus.kind === 'edit' ? `edit:${focus.entry.seq}` : id}
      focusKey={focus.kind === 'new' ? '' : `${focus.kind}:${focus.entry.seq}`}
      initial={focus.kind === 'edit' ? (focus.text ?? focus.entry.text) : typed.current}
      mode={mode}
      people={people}
      onText={onText}
      onSend={onSend}
      onCancel={() => {
        if (focus.kind === 'new') return false;
        onFocus({ kind: 'new' });
        return true;
      }}
      onEditLast={onEditLast}
    />
  );
}
