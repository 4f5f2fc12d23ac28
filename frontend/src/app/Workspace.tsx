import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { useApi } from '../api/context';
import type { ProblemCode } from '../api/problem';
import { refetchChanged } from '../api/queries/me';
import type { Me } from '../api/types';
import { ChatProvider } from '../lib/chat';
import { browserPorts, type ChatClient, createClient } from '../realtime';
import { refetchOnEvent } from './refetch';
import { Shell } from './Shell';

/** Everything behind the login: owns the tab's one realtime client. */
export function Workspace({ me, onEnd }: { me: Me; onEnd: (why: ProblemCode) => void }) {
  const [api, queries] = [useApi(), useQueryClient()];
  const [chat, setChat] = useState<ChatClient | null>(null);

  useEffect(() => {
    const client = createClient(browserPorts(api, me.id), me.id);
    const offChanged = client.onUserChanged((what) => refetchChanged(queries, what));
    const offEvent = client.onEvent((event) => refetchOnEvent(queries, event));
    const offConnection = client.connection.subscribe(() => {
      const state = client.connection.get();
      if (state.phase !== 'disconnected' || state.reason !== 'disabled') return;
      onEnd(state.reason);
    });
    client.start();
    setChat(client);
    return () => {
      offChanged();
      offEvent();
      offConnection();
      void client.stop();
    };
  }, [api, queries, me.id, onEnd]);

  if (!chat) return null;
  return (
    <ChatProvider value={chat}>
      <Shell me={me} />
    </ChatProvider>
  );
}
