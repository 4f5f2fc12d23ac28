import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { useApi } from '../api/context';
import { userKeys } from '../api/queries/users';
import type { Me, UserCard } from '../api/types';
import { useChat } from '../lib/chat';
import { plainText } from '../lib/markup';
import { nameOf, titleOf } from '../lib/names';
import { notificationsOn } from '../lib/notifications';
import { conversationPath, navigate } from '../lib/router';
import { texts } from '../lib/texts';
import type { DurableEvent } from '../realtime';

const LATE_MS = 60_000;

/** Tells of direct messages and mentions while the tab is hidden; a click opens the place. */
export function useNotifications(me: Me): void {
  const [api, queries, chat] = [useApi(), useQueryClient(), useChat()];
  useEffect(() => {
    const tell = async (event: DurableEvent) => {
      if (event.type !== 'message' || event.from === me.id || !notificationsOn()) return;
      if (document.visibilityState !== 'hidden' || Date.now() - event.ts > LATE_MS) return;
      const conversation = chat.conversations.get().byId.get(event.conversation);
      if (!conversation || conversation.muted) return;
      const mentioned = event.body.text.toLowerCase().includes(`@${me.username.toLowerCase()}`);
      if (conversation.kind === 'group' && !mentioned) return;
      const card = await queries.fetchQuery({
        queryKey: userKeys.card(event.from),
        queryFn: () => api.get<UserCard>(`/api/users/${event.from}`),
        staleTime: LATE_MS,
      });
      const who = nameOf(card);
      const title =
        conversation.kind === 'group'
          ? texts.notification.group(who, titleOf(conversation, me.id))
          : who;
      const shown = new Notification(title, {
        body: plainText(event.body.text),
        tag: event.conversation,
        icon: '/favicon.svg',
      });
      shown.onclick = () => {
        window.focus();
        navigate(conversationPath(event.conversation, { at: event.seq }));
        shown.close();
      };
    };
    return chat.onEvent((event) => void tell(event).catch(() => undefined));
  }, [api, queries, chat, me]);
}
