/** Other people: cards by id (batched), search, who is online. */
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { batched } from '../../lib/batch';
import type { Api } from '../client';
import { useApi } from '../context';
import type { OnlinePage, UserCard } from '../types';

const IDS_MAX = 200;
const CARD_STALE_MS = 5 * 60_000;
const ONLINE_EVERY_MS = 5_000;

export const userKeys = {
  card: (id: string) => ['user', id] as const,
  search: (q: string) => ['users', q] as const,
  online: (q: string) => ['online', q] as const,
};

const loaders = new WeakMap<Api, (id: string) => Promise<UserCard | undefined>>();
function loaderOf(api: Api): (id: string) => Promise<UserCard | undefined> {
  const loader =
    loaders.get(api) ??
    batched<UserCard>(async (ids) => {
      const query = { ids: ids.join(',') };
      const { users } = await api.get<{ users: UserCard[] }>('/api/users', { query });
      return new Map(users.map((user) => [user.id, user]));
    }, IDS_MAX);
  loaders.set(api, loader);
  return loader;
}

/** `data` null = no such user. All cards asked for in one render come in one request. */
export function useUser(id: string | null) {
  const api = useApi();
  return useQuery({
    queryKey: userKeys.card(id ?? ''),
    queryFn: async () => (await loaderOf(api)(id ?? '')) ?? null,
    enabled: id !== null && id !== '',
    staleTime: CARD_STALE_MS,
  });
}

export function useUserSearch(q: string, limit = 20) {
  const api = useApi();
  return useQuery({
    queryKey: userKeys.search(q),
    queryFn: async ({ signal }) =>
      (await api.get<{ users: UserCard[] }>('/api/users', { query: { q, limit }, signal })).users,
    placeholderData: keepPreviousData,
  });
}

export function useOnline(q = '', enabled = true) {
  const api = useApi();
  return useInfiniteQuery({
    queryKey: userKeys.online(q),
    queryFn: ({ pageParam, signal }) =>
      api.get<OnlinePage>('/api/online', { query: { q, after: pageParam, limit: 50 }, signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next,
    refetchInterval: ONLINE_EVERY_MS,
    staleTime: 0,
    enabled,
  });
}
