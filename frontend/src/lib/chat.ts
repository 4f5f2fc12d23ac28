/**
 * The one `ChatClient` of the tab, for hooks. Owns: the React context (a stable object, never per-message data).
 * Never does: create or start the client. Start reading at: `useChat`.
 */
import { createContext, useContext } from 'react';
import type { ChatClient } from '../realtime';

const ChatContext = createContext<ChatClient | null>(null);
export const ChatProvider = ChatContext.Provider;

/** Only below the provider, that is: while somebody is logged in. */
export function useChat(): ChatClient {
  const chat = useContext(ChatContext);
  if (!chat) throw new Error('useChat outside of ChatProvider');
  return chat;
}
