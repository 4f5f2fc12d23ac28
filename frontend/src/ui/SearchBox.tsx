import { Search, X } from 'lucide-react';
import { type KeyboardEvent, useRef } from 'react';
import { texts } from '../lib/texts';
import { IconButton } from './IconButton';

type Props = {
  label: string;
  value: string;
  onChange: (value: string) => void;
  onKeyDown?: (event: KeyboardEvent<HTMLInputElement>) => void;
  autoFocus?: boolean;
};

export function SearchBox({ label, value, onChange, onKeyDown, autoFocus }: Props) {
  const ref = useRef<HTMLInputElement>(null);
  return (
    <div className="search-box">
      <Search size={17} aria-hidden />
      <input
        ref={ref}
        type="search"
        aria-label={label}
        placeholder={label}
        value={value}
        autoFocus={autoFocus}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {value ? (
        <IconButton
          label={texts.clear}
          onClick={() => {
            onChange('');
            ref.current?.focus();
          }}
        >
          <X size={16} aria-hidden />
        </IconButton>
      ) : null}
    </div>
  );
}
