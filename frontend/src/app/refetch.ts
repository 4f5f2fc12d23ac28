/** Which cached answers of the api a durable event makes old. Owns: that table. Never does: touch timelines. */
import type { QueryClient } from '@tanstack/react-query';
import { conversationKeys } from '../api/queries/conversations';
import type { DurableEvent } from '../realtime';

export function refetchOnEvent(queries: QueryClient, event: DurableEvent): void {
  if (event.type === 'member' || event.type === 'created') {
    void queries.invalidateQueries({ queryKey: conversationKeys.members(event.conversation) });
  }
}
