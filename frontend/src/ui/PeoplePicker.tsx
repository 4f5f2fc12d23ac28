import { X } from 'lucide-react';
import type { ReactNode } from 'react';
import { Avatar } from './Avatar';
import { SearchBox } from './SearchBox';
import './rows.css';

export type Pickable = { id: string; name: string; hint: string };
type Props = {
  label: string;
  query: string;
  onQuery: (query: string) => void;
  people: readonly Pickable[];
  chosen: readonly Pickable[];
  onToggle: (person: Pickable) => void;
  removeLabel: (name: string) => string;
  children?: ReactNode;
};

/** Choosing several people by name. */
export function PeoplePicker({
  label,
  query,
  onQuery,
  people,
  chosen,
  onToggle,
  removeLabel,
  children,
}: Props) {
  const ids = new Set(chosen.map((person) => person.id));
  return (
    <>
      <SearchBox label={label} value={query} onChange={onQuery} />
      <div className="chips" style={{ paddingTop: 8 }}>
        {chosen.map((person) => (
          <button
            key={person.id}
            type="button"
            className="chip"
            aria-label={removeLabel(person.name)}
            onClick={() => onToggle(person)}
          >
            <span className="ellipsis">{person.name}</span>
            <X size={14} aria-hidden />
          </button>
        ))}
      </div>
      <ul style={{ height: 240, overflowY: 'auto', margin: '4px -12px 0' }}>
        {people.map((person) => (
          <li key={person.id}>
            <label
              className="row row--person"
              style={{ gridTemplateColumns: 'auto minmax(0,1fr) auto' }}
            >
              <Avatar id={person.id} name={person.name} size={38} />
              <span className="row__main">
                <span className="row__name ellipsis">{person.name}</span>
                <span className="row__sub ellipsis">{person.hint}</span>
              </span>
              <input
                type="checkbox"
                className="row__check"
                checked={ids.has(person.id)}
                onChange={() => onToggle(person)}
              />
            </label>
          </li>
        ))}
      </ul>
      {children}
    </>
  );
}
