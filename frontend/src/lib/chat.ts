import { createContext, useContext } from 'react';
import type { ChatClient } from '../realtime/facade';

const ChatContext = createContext<ChatClient | null>(null);
/** Holds the one client of the logged-in user. The value changes at login only, never per message. */
export const ChatProvider = ChatContext.Provider;

export function useChat(): ChatClient {
  const chat = useContext(ChatContext);
  if (!chat) throw new Error('useChat needs a ChatProvider above it');
  return chat;
}
