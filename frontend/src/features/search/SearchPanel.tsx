import { Search, SearchX } from 'lucide-react';
import { useDeferredValue, useState } from 'react';
import { useSearch } from '../../api/queries/search';
import type { Me } from '../../api/types';
import { useChat } from '../../lib/chat';
import { explain, titleOf } from '../../lib/names';
import { homePath, navigate } from '../../lib/router';
import { texts } from '../../lib/texts';
import { useStore } from '../../lib/useStore';
import { Button } from '../../ui/Button';
import { EmptyState } from '../../ui/EmptyState';
import { LoadFailed } from '../../ui/LoadFailed';
import { SearchBox } from '../../ui/SearchBox';
import { HitRow } from './HitRow';
import '../../ui/rows.css';

type Props = { me: Me; within: string | null };

/** Search over everything, or within one conversation; a hit opens its place. */
export default function SearchPanel({ me, within }: Props) {
  const { byId } = useStore(useChat().conversations);
  const [query, setQuery] = useState(() => new URLSearchParams(location.search).get('q') ?? '');
  const q = useDeferredValue(query.trim());
  const search = useSearch(q, within);
  const inside = within === null ? undefined : byId.get(within);
  const hits = q ? (search.data?.pages.flatMap((page) => page.hits) ?? []) : [];
  return (
    <>
      <div className="side__head">
        <h1>{texts.search.title}</h1>
      </div>
      <div className="side__tools">
        <SearchBox label={texts.search.placeholder} value={query} onChange={setQuery} autoFocus />
        {inside ? (
          <div className="search-scope">
            <span className="ellipsis">{texts.search.inConversation(titleOf(inside, me.id))}</span>
            <button type="button" className="link-btn" onClick={() => navigate(homePath('search'))}>
              {texts.search.everywhere}
            </button>
          </div>
        ) : null}
      </div>
      <div className="side__scroll">
        {q ? null : (
          <EmptyState
            icon={<Search size={26} />}
            title={texts.search.start}
            text={texts.search.startText}
          />
        )}
        <ul aria-label={texts.search.results}>
          {hits.map((hit) => (
            <HitRow
              key={`${hit.conversation}:${hit.seq}`}
              hit={hit}
              conversation={byId.get(hit.conversation) ?? null}
              q={q}
              me={me.id}
              within={within}
            />
          ))}
        </ul>
        {q && search.isError && !search.data ? (
          <LoadFailed text={explain(search.error)} onRetry={() => void search.refetch()} />
        ) : null}
        {q && search.data && hits.length === 0 ? (
          <EmptyState
            icon={<SearchX size={26} />}
            title={texts.search.none}
            text={texts.search.noneText}
          />
        ) : null}
        {search.hasNextPage ? (
          <Button
            variant="quiet"
            small
            wide
            busy={search.isFetchingNextPage}
            onClick={() => void search.fetchNextPage()}
          >
            {texts.search.more}
          </Button>
        ) : null}
      </div>
    </>
  );
}
