/**
 * The one `Api` of the program, for hooks.
 *
 * Owns: the React context and what `useQuery` does about errors. Never does: fetch. Start reading at: `useApi`.
 */
import { QueryClient } from '@tanstack/react-query';
import { createContext, useContext } from 'react';
import { Api } from './client';
import { ApiError } from './problem';

const ApiContext = createContext<Api>(new Api());
export const ApiProvider = ApiContext.Provider;

export function useApi(): Api {
  return useContext(ApiContext);
}

const TRIES_MAX = 3;
/** After that: a server that comes back is noticed without anybody asking. */
const FAILED_EVERY_MS = 10_000;

function isRetryable(error: unknown): boolean {
  return error instanceof ApiError && error.retryable;
}

export function createQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        retry: (tries, error) => tries < TRIES_MAX && isRetryable(error),
        refetchInterval: ({ state }) => (isRetryable(state.error) ? FAILED_EVERY_MS : false),
      },
      mutations: { retry: false },
    },
  });
}
