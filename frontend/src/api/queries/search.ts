/** Full-text search over one's own conversations. */
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useApi } from '../context';
import type { SearchPage } from '../types';

export const searchKey = (q: string, conversation: string | null) =>
  ['search', q, conversation] as const;

export function useSearch(q: string, conversation: string | null = null) {
  const api = useApi();
  return useInfiniteQuery({
    queryKey: searchKey(q, conversation),
    queryFn: ({ pageParam, signal }) =>
      api.get<SearchPage>('/api/search', {
        query: { q, conversation: conversation ?? undefined, before: pageParam },
        signal,
      }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: keepPreviousData,
    enabled: q.trim() !== '',
  });
}
