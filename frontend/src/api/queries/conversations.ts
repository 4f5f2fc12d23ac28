/**
 * Changes to conversations and messages that go through HTTP. Their events come back over the socket, so nothing here
 * touches a timeline; what makes a conversation returns it for `ChatClient.adopt`.
 */
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import type { HistoryAccess, Role } from '../../realtime/wire';
import { useApi } from '../context';
import type { Conversation, InvitePreview, Member } from '../types';

export const conversationKeys = {
  members: (id: string) => ['members', id] as const,
  invite: (code: string) => ['invite', code] as const,
};
const of = (id: string) => `/api/conversations/${id}`;
type Seq = { seq: number };
type MembersPage = { members: Member[]; next?: string };

export function useMembers(id: string, enabled = true) {
  const api = useApi();
  return useInfiniteQuery({
    queryKey: conversationKeys.members(id),
    queryFn: ({ pageParam }) =>
      api.get<MembersPage>(`${of(id)}/members`, { query: { after: pageParam, limit: 100 } }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next,
    enabled,
  });
}

export function useOpenDirect() {
  const api = useApi();
  return useMutation({
    mutationFn: (user: string) => api.post<Conversation>('/api/conversations/direct', { user }),
  });
}

/** `key`: 16 hex digits, the same for each try of one group. */
export function useCreateGroup() {
  const api = useApi();
  type Group = { title: string; members: string[]; history?: HistoryAccess; key: string };
  return useMutation({
    mutationFn: ({ key, ...group }: Group) =>
      api.post<Conversation>('/api/conversations', group, { idempotencyKey: key }),
  });
}

export function usePatchConversation(id: string) {
  const api = useApi();
  return useMutation({
    mutationFn: (patch: { title?: string; history?: HistoryAccess }) =>
      api.patch<Seq>(of(id), patch),
  });
}

export type MemberAction =
  | { do: 'add'; users: string[] }
  | { do: 'remove'; user: string }
  | { do: 'role'; user: string; role: Role };

export function useChangeMembers(id: string) {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: (action: MemberAction) => {
      const path = `${of(id)}/members`;
      if (action.do === 'add') return api.post<Seq>(path, { users: action.users });
      if (action.do === 'remove') return api.delete<Seq>(`${path}/${action.user}`);
      return api.put<Seq>(`${path}/${action.user}`, { role: action.role });
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: conversationKeys.members(id) }),
  });
}

export function useInviteLink(id: string) {
  const api = useApi();
  return useMutation({
    mutationFn: () => api.post<{ code: string; path: string }>(`${of(id)}/invite`),
  });
}
export function useRevokeInvite(id: string) {
  const api = useApi();
  return useMutation({ mutationFn: () => api.delete<void>(`${of(id)}/invite`) });
}
export function useInvitePreview(code: string) {
  const api = useApi();
  return useQuery({
    queryKey: conversationKeys.invite(code),
    queryFn: () => api.get<InvitePreview>(`/api/invites/${encodeURIComponent(code)}`),
  });
}
export function useJoin() {
  const api = useApi();
  return useMutation({
    mutationFn: (code: string) =>
      api.post<Conversation>(`/api/invites/${encodeURIComponent(code)}`),
  });
}

export type MessageAction =
  | { do: 'edit'; seq: number; text: string }
  | { do: 'delete'; seq: number }
  | { do: 'react'; seq: number; emoji: string; on: boolean }
  | { do: 'report'; seq: number; reason: string };

export function useMessageAction(id: string) {
  const api = useApi();
  return useMutation({
    mutationFn: (action: MessageAction): Promise<unknown> => {
      const path = `${of(id)}/messages/${action.seq}`;
      switch (action.do) {
        case 'edit':
          return api.put<Seq>(path, { text: action.text });
        case 'delete':
          return api.delete<Seq>(path);
        case 'react': {
          const emoji = `${path}/reactions/${encodeURIComponent(action.emoji)}`;
          return action.on ? api.put<Seq>(emoji) : api.delete<Seq>(emoji);
        }
        case 'report':
          return api.post<void>(`${path}/report`, { reason: action.reason });
      }
    },
  });
}
