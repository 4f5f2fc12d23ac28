import { UserRoundSearch, Users } from 'lucide-react';
import { useDeferredValue, useState } from 'react';
import { useOpenDirect } from '../../api/queries/conversations';
import { useOnline, useUserSearch } from '../../api/queries/users';
import type { Me, UserCard } from '../../api/types';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import { conversationPath, navigate } from '../../lib/router';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { EmptyState } from '../../ui/EmptyState';
import { LoadFailed } from '../../ui/LoadFailed';
import { SearchBox } from '../../ui/SearchBox';
import { toast } from '../../ui/Toasts';
import { PersonRow } from './PersonRow';
import '../../ui/rows.css';

/** Everybody who is online now, and everybody else by name. */
export default function PeoplePanel({ me }: { me: Me }) {
  const chat = useChat();
  const [query, setQuery] = useState('');
  const q = useDeferredValue(query.trim());
  const online = useOnline(q);
  const found = useUserSearch(q, 30);
  const openDirect = useOpenDirect();
  const users =
    online.data?.pages.flatMap((page) => page.users).filter((user) => user.id !== me.id) ?? [];
  const onlineIds = new Set(users.map((user) => user.id));
  const others = found.data?.filter((user) => !onlineIds.has(user.id) && user.id !== me.id) ?? [];
  const total = online.data?.pages[0]?.total ?? 0;
  const talk = (user: UserCard) =>
    openDirect.mutate(user.id, {
      onSuccess: (conversation) => {
        chat.adopt(conversation);
        navigate(conversationPath(conversation.id));
      },
      onError: (failure) => toast(explain(failure)),
    });

  return (
    <>
      <div className="side__head">
        <h1>{texts.people.title}</h1>
      </div>
      <div className="side__tools">
        <SearchBox label={texts.people.search} value={query} onChange={setQuery} />
      </div>
      <div className="side__scroll">
        <h2 className="side__section">
          <span>{texts.people.online}</span>
          <span aria-live="polite">
            {online.data && users.length > 0 ? texts.people.onlineCount(total) : ''}
          </span>
        </h2>
        <ul>
          {users.map((user) => (
            <PersonRow key={user.id} user={user} online onTalk={talk} />
          ))}
        </ul>
        {online.hasNextPage ? (
          <Button
            variant="quiet"
            small
            wide
            busy={online.isFetchingNextPage}
            onClick={() => void online.fetchNextPage()}
          >
            {texts.people.showMore}
          </Button>
        ) : null}
        {!q && online.data && users.length === 0 && others.length > 0 ? (
          <p className="side__note">{texts.people.onlyYou}</p>
        ) : null}
        {!q && online.data && users.length === 0 && found.data?.length && others.length === 0 ? (
          <EmptyState
            icon={<Users size={28} />}
            title={texts.people.nobody}
            text={texts.people.nobodyText}
          />
        ) : null}
        {others.length > 0 ? (
          <>
            <h2 className="side__section">{texts.people.found}</h2>
            <ul>
              {others.map((user) => (
                <PersonRow key={user.id} user={user} online={false} onTalk={talk} />
              ))}
            </ul>
          </>
        ) : null}
        {found.isError && !found.data ? (
          <LoadFailed text={explain(found.error)} onRetry={() => void found.refetch()} />
        ) : null}
        {q && found.data && others.length + users.length === 0 ? (
          <EmptyState
            icon={<UserRoundSearch size={28} />}
            title={texts.people.notFound}
            text={texts.people.notFoundText}
          />
        ) : null}
      </div>
    </>
  );
}
