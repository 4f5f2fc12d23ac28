import { MessageCircleOff } from 'lucide-react';
import { useRef } from 'react';
import type { Me } from '../api/types';
import { DetailsPanel } from '../features/groups/DetailsPanel';
import { Timeline } from '../features/timeline/Timeline';
import { TypingLine } from '../features/timeline/TypingLine';
import { useChat } from '../lib/chat';
import { titleOf } from '../lib/names';
import { conversationPath, navigate, type Route } from '../lib/router';
import { texts } from '../lib/texts';
import { useRetry } from '../lib/useRetry';
import { useStore } from '../lib/useStore';
import { Button } from '../ui/Button';
import { EmptyState } from '../ui/EmptyState';
import { ConversationComposer } from './ConversationComposer';
import { ConversationHead } from './ConversationHead';
import { DateDialog } from './DateDialog';
import { DeleteDialog } from './DeleteDialog';
import { EmptyTimeline } from './EmptyTimeline';
import { ReportDialog } from './ReportDialog';
import { useConversation } from './useConversation';

type Props = { me: Me; route: Extract<Route, { page: 'conversation' }> };

export function ConversationPage({ me, route }: Props) {
  const chat = useChat();
  const handle = chat.timeline(route.id);
  const view = useStore(handle);
  const list = useStore(chat.conversations);
  const conversation = list.byId.get(route.id) ?? null;
  // As it was when the conversation came in sight: reading it does not move the line.
  const cursor = useRef<number | null>(undefined);
  if (cursor.current === undefined && conversation)
    cursor.current = conversation.unread > 0 ? conversation.read : null;
  const unreadAfter = cursor.current ?? null;
  const wasThere = useRef(false);
  if (conversation) wasThere.current = true;
  // After a reconnection the client does that itself.
  const { phase: connection } = useStore(chat.connection);
  useRetry(view.phase === 'failed' && connection === 'connected', () => void handle.reload());
  const page = useConversation({ me, conversation, id: route.id, at: route.at, handle, view });

  if (!conversation && list.phase === 'ready') {
    return (
      <div className="main__center">
        <EmptyState
          page
          icon={<MessageCircleOff size={28} />}
          title={wasThere.current ? texts.timeline.over : texts.timeline.unreachable}
          text=""
        >
          <Button onClick={() => navigate('/')}>{texts.join.home}</Button>
        </EmptyState>
      </div>
    );
  }
  const title = conversation ? titleOf(conversation, me.id) : '';
  const empty = view.phase === 'ready' && view.entries.every((entry) => entry.kind === 'created');
  return (
    <>
      <section className="conversation" aria-label={title || texts.loading}>
        <ConversationHead
          conversation={conversation}
          title={title}
          onDate={() => page.setDay(conversation?.activity_ts ?? Date.now())}
          route={route}
        />
        <Timeline
          conversation={route.id}
          title={title}
          handle={handle}
          view={view}
          viewer={page.viewer}
          actions={page.actions}
          unreadAfter={unreadAfter}
          target={page.target}
        />
        {empty && conversation ? <EmptyTimeline conversation={conversation} title={title} /> : null}
        {view.phase === 'failed' ? (
          <div className="timeline__failed" role="alert">
            {texts.timeline.loadFailed}
            <Button small onClick={() => void handle.reload()}>
              {texts.retry}
            </Button>
          </div>
        ) : null}
        <TypingLine conversation={route.id} />
        <ConversationComposer
          id={route.id}
          conversation={conversation}
          title={title}
          viewer={page.viewer}
          focus={page.focus}
          onFocus={page.setFocus}
          onEditLast={page.editLast}
          onEdited={page.saveEdit}
        />
      </section>
      {route.details && conversation ? (
        <DetailsPanel
          key={route.id}
          me={me}
          conversation={conversation}
          title={title}
          onClose={() => navigate(conversationPath(route.id, { side: route.side }))}
        />
      ) : null}
      {route.details && !conversation ? <div className="details" aria-busy /> : null}
      {page.day !== null && conversation ? (
        <DateDialog
          conversation={route.id}
          head={conversation.head.seq}
          from={page.day}
          onJump={page.jump}
          onClose={() => page.setDay(null)}
        />
      ) : null}
      {page.deleting ? (
        <DeleteDialog onClose={() => page.setDeleting(null)} onConfirm={page.confirmDelete} />
      ) : null}
      {page.reporting ? (
        <ReportDialog onClose={() => page.setReporting(null)} onReport={page.confirmReport} />
      ) : null}
    </>
  );
}
