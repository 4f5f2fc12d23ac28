import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { useApi } from '../api/context';
import { userKeys } from '../api/queries/users';
import type { Me, UserCard } from '../api/types';
import { isAlert } from '../lib/alerts';
import { isLookedAt, onlyOneTab, showAttention } from '../lib/attention';
import { useChat } from '../lib/chat';
import { plainText } from '../lib/markup';
import { nameOf, titleOf } from '../lib/names';
import { notificationSettings } from '../lib/notifications';
import { conversationPath, navigate } from '../lib/router';
import { armSound, playSound } from '../lib/sound';
import { texts } from '../lib/texts';
import type { DurableEvent } from '../realtime';

const CARD_FRESH_MS = 60_000;
/** Messages that come together make one sound. */
const SOUND_EVERY_MS = 1_000;

/** Tells of direct messages and mentions while nobody looks; a click opens the place. */
export function useNotifications(me: Me): void {
  const [api, queries, chat] = [useApi(), useQueryClient(), useChat()];
  useEffect(showAttention, []);
  useEffect(armSound, []);
  useEffect(() => {
    const tell = async (event: DurableEvent) => {
      const settings = notificationSettings();
      if (!settings.shown && !settings.sound) return;
      const conversation = chat.conversations.get().byId.get(event.conversation) ?? null;
      const { quietUntil } = settings;
      const seen = await isLookedAt();
      if (!isAlert(event, { me, conversation, seen, quietUntil, now: Date.now() })) return;
      if (settings.sound) void onlyOneTab('sound', SOUND_EVERY_MS, playSound);
      if (!settings.shown || !conversation) return;
      const card = await queries.fetchQuery({
        queryKey: userKeys.card(event.from),
        queryFn: () => api.get<UserCard>(`/api/users/${event.from}`),
        staleTime: CARD_FRESH_MS,
      });
      const who = nameOf(card);
      const title =
        conversation.kind === 'group'
          ? texts.notification.group(who, titleOf(conversation, me.id))
          : who;
      // The tag makes tabs that all show it show one. The sound is ours, so that the two do not come together.
      const shown = new Notification(title, {
        body: plainText(event.body.text),
        tag: event.conversation,
        icon: '/favicon.svg',
        silent: true,
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
