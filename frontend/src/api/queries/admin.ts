/** Administration: instance settings, users, invites, reports. */
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useApi } from '../context';
import type { AdminUser, AdminUserPatch, InstanceSettings, Report } from '../types';

export const adminKeys = {
  settings: ['admin', 'settings'] as const,
  users: (q: string) => ['admin', 'users', q] as const,
  reports: ['admin', 'reports'] as const,
};

export function useAdminSettings() {
  const api = useApi();
  return useQuery({
    queryKey: adminKeys.settings,
    queryFn: () => api.get<InstanceSettings>('/api/admin/settings'),
  });
}

export function usePatchAdminSettings() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: (patch: Partial<InstanceSettings>) =>
      api.patch<InstanceSettings>('/api/admin/settings', patch),
    onSuccess: () =>
      Promise.all([
        queries.invalidateQueries({ queryKey: adminKeys.settings }),
        queries.invalidateQueries({ queryKey: ['instance'] }),
      ]),
  });
}

export function useRegistrationInvite() {
  const api = useApi();
  return useMutation({ mutationFn: () => api.post<{ code: string }>('/api/admin/invites') });
}

export function useAdminUsers(q: string) {
  const api = useApi();
  return useInfiniteQuery({
    queryKey: adminKeys.users(q),
    queryFn: ({ pageParam, signal }) =>
      api.get<{ users: AdminUser[]; next?: string }>('/api/admin/users', {
        query: { q, after: pageParam, limit: 50 },
        signal,
      }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next,
  });
}

export function usePatchAdminUser() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: ({ id, ...patch }: AdminUserPatch & { id: string }) =>
      api.patch<void>(`/api/admin/users/${id}`, patch),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['admin', 'users'] }),
  });
}

export function useReports() {
  const api = useApi();
  return useQuery({
    queryKey: adminKeys.reports,
    queryFn: async () => (await api.get<{ reports: Report[] }>('/api/admin/reports')).reports,
  });
}

export function useCloseReport() {
  const [api, queries] = [useApi(), useQueryClient()];
  return useMutation({
    mutationFn: (id: string) => api.post<void>(`/api/admin/reports/${id}/close`),
    onSuccess: () => queries.invalidateQueries({ queryKey: adminKeys.reports }),
  });
}
