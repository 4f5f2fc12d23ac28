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

export function createQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        retry: (tries, error) => tries < TRIES_MAX && error instanceof ApiError && error.retryable,
      },
      mutations: { retry: false },
    },
  });
}
