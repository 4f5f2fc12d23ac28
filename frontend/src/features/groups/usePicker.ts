import { useDeferredValue, useState } from 'react';
import { useUserSearch } from '../../api/queries/users';
import { nameOf } from '../../lib/names';
import type { Pickable } from '../../ui/PeoplePicker';

/** Search and choice of people, without those who cannot be chosen. */
export function usePicker(without: ReadonlySet<string>) {
  const [query, setQuery] = useState('');
  const [chosen, setChosen] = useState<readonly Pickable[]>([]);
  const found = useUserSearch(useDeferredValue(query.trim()), 30);
  const people = (found.data ?? [])
    .filter((user) => !without.has(user.id))
    .map((user) => ({ id: user.id, name: nameOf(user), hint: `@${user.username}` }));
  const onToggle = (person: Pickable) =>
    setChosen(
      chosen.some((one) => one.id === person.id)
        ? chosen.filter((one) => one.id !== person.id)
        : [...chosen, person],
    );
  return { query, onQuery: setQuery, people, chosen, onToggle };
}
