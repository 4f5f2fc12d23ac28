/** Looking for a place in the history. Owns: the requests; the way to it is `findDay`'s. */
import { useMutation } from '@tanstack/react-query';
import { findDay } from '../../lib/findDay';
import { useApi } from '../context';
import type { MessagesPage } from '../types';

type Wanted = { start: number; head: number };

export function useFindDay(conversation: string) {
  const api = useApi();
  return useMutation({
    mutationFn: ({ start, head }: Wanted) =>
      findDay(start, head, async (seq) => {
        const query = { after: seq, limit: 1 };
        const path = `/api/conversations/${conversation}/messages`;
        return (await api.get<MessagesPage>(path, { query })).items[0] ?? null;
      }),
  });
}
