/** The user: account, sessions, block list. Keys start with what `user_changed` names. */
import { type QueryClient, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import type { UserChange } from '../../realtime/wire';
import { useApi } from '../context';
import { ApiError } from '../problem';
import type { AuthReply, Instance, Me, MePatch, SessionRow, UserCard } from '../types';

export const meKeys = {
  instance: ['instance'] as const,
  me: ['me'] as const,
  sessions: ['sessions'] as const,
  blocked: ['blocked'] as const,
};

export type Credentials = { username: string; password: string };
export type Registering = Credentials & { display_name?: string; invite?: string };

export function useInstance() {
  const api = useApi();
  return useQuery({ queryKey: meKeys.instance, queryFn: () => api.get<Instance>('/api/instance') });
}

/** `data` null = not logged in. */
export function useMe() {
  const api = useApi();
  return useQuery({
    queryKey: meKeys.me,
    queryFn: async () => {
      try {
        return await api.get<Me>('/api/me');
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) return null;
        throw error;
      }
    },
  });
}

function useEntering<T>(path: string) {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: (given: T) => api.post<AuthReply>(path, given),
    onSuccess: (reply) => {
      queries.removeQueries({ predicate: (query) => query.queryKey[0] !== 'me' });
      queries.setQueryData(meKeys.me, reply.user);
    },
  });
}
export const useLogin = () => useEntering<Credentials>('/api/auth/login');
export const useRegister = () => useEntering<Registering>('/api/auth/register');

/** Call `ChatClient.forget()` first. */
export function useLogout() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: () => api.post<void>('/api/auth/logout'),
    onSuccess: () => {
      queries.clear();
      queries.setQueryData(meKeys.me, null);
    },
  });
}

export function usePatchMe() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: (patch: MePatch) => api.patch<Me>('/api/me', patch),
    onSuccess: (me) => queries.setQueryData(meKeys.me, me),
  });
}

export function useDeleteMe() {
  const api = useApi();
  return useMutation({
    mutationFn: (password: string) => api.delete<void>('/api/me', { body: { password } }),
  });
}

export function useChangePassword() {
  const api = useApi();
  return useMutation({
    mutationFn: (given: { current: string; new: string }) =>
      api.post<void>('/api/auth/password', given),
  });
}

export function useSessions() {
  const api = useApi();
  return useQuery({
    queryKey: meKeys.sessions,
    queryFn: async () => (await api.get<{ sessions: SessionRow[] }>('/api/auth/sessions')).sessions,
  });
}

/** Without an id: all others. */
export function useRevokeSession() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: (id: string | null) =>
      api.delete<void>(id === null ? '/api/auth/sessions' : `/api/auth/sessions/${id}`),
    onSuccess: () => queries.invalidateQueries({ queryKey: meKeys.sessions }),
  });
}

export function useBlocked() {
  const api = useApi();
  return useQuery({
    queryKey: meKeys.blocked,
    queryFn: async () => (await api.get<{ users: UserCard[] }>('/api/me/blocked')).users,
  });
}

export function useBlock() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: ({ user, blocked }: { user: string; blocked: boolean }) => {
      const path = `/api/me/blocked/${user}`;
      return blocked ? api.put<void>(path) : api.delete<void>(path);
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: meKeys.blocked }),
  });
}

/** For `ChatClient.onUserChanged`: drops what another device changed. */
export function refetchChanged(queries: QueryClient, what: UserChange): void {
  const keys = {
    profile: meKeys.me,
    settings: meKeys.me,
    sessions: meKeys.sessions,
    blocked: meKeys.blocked,
    conversations: ['members'],
  } satisfies Record<UserChange, readonly string[]>;
  const queryKey = keys[what];
  if (queryKey) void queries.invalidateQueries({ queryKey });
}
