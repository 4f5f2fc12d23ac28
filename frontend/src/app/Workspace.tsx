import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { useApi } from '../api/context';
import { meKeys, refetchChanged } from '../api/queries/me';
import type { Me } from '../api/types';
import { ChatProvider } from '../lib/chat';
import { explain } from '../lib/names';
import { browserPorts, type ChatClient, createClient } from '../realtime';
import { toast } from '../ui/Toasts';
import { refetchOnEvent } from './refetch';
import { Shell } from './Shell';

/** Everything behind the login: owns the tab's one realtime client. */
export function Workspace({ me }: { me: Me }) {
  const [api, queries] = [useApi(), useQueryClient()];
  const [chat, setChat] = useState<ChatClient | null>(null);

  useEffect(() => {
    const client = createClient(browserPorts(api, me.id), me.id);
    const offChanged = client.onUserChanged((what) => refetchChanged(queries, what));
    const offEvent = client.onEvent((event) => refetchOnEvent(queries, event));
    const offConnection = client.connection.subscribe(() => {
      const state = client.connection.get();
      if (state.phase !== 'disconnected' || state.reason !== 'disabled') return;
      if (!queries.getQueryData(meKeys.me)) return;
      toast(explain({ code: state.reason }));
      queries.setQueryData(meKeys.me, null);
    });
    client.start();
    setChat(client);
    return () => {
      offChanged();
      offEvent();
      offConnection();
      void client.stop();
    };
  }, [api, queries, me.id]);

  if (!chat) return null;
  return (
    <ChatProvider value={chat}>
      <Shell me={me} />
    </ChatProvider>
  );
}
