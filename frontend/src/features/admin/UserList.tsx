import { useDeferredValue, useState } from 'react';
import { useAdminUsers } from '../../api/queries/admin';
import type { Me } from '../../api/types';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { LoadFailed } from '../../ui/LoadFailed';
import { SearchBox } from '../../ui/SearchBox';
import { UserLine } from './UserLine';

export function UserList({ me }: { me: Me }) {
  const [query, setQuery] = useState('');
  const users = useAdminUsers(useDeferredValue(query.trim()));
  return (
    <>
      <SearchBox label={texts.admin.find} value={query} onChange={setQuery} />
      <div className="card">
        {users.isError && !users.data ? (
          <LoadFailed text={explain(users.error)} onRetry={() => void users.refetch()} />
        ) : null}
        <ul>
          {users.data?.pages
            .flatMap((page) => page.users)
            .map((user) => (
              <UserLine key={user.id} user={user} me={me} />
            ))}
        </ul>
        {users.hasNextPage ? (
          <Button variant="quiet" small wide onClick={() => void users.fetchNextPage()}>
            {texts.people.showMore}
          </Button>
        ) : null}
      </div>
    </>
  );
}
