import { useEffect, useRef, useState } from 'react';
import { EMOJI_GROUPS, type Emoji, findEmoji } from '../lib/emoji';
import { texts } from '../lib/texts';
import { SearchBox } from './SearchBox';
import './emoji.css';

type Props = { onPick: (emoji: string) => void; onClose: () => void };
const RECENT_KEY = 'webchat.emoji';
const RECENT_MAX = 16;
const FOUND_MAX = 64;

export default function EmojiPicker({ onPick, onClose }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  const [query, setQuery] = useState('');
  const [recent] = useState(readRecent);

  useEffect(() => {
    const away = (event: Event) => {
      if (event.target instanceof Node && !ref.current?.contains(event.target)) onClose();
    };
    document.addEventListener('pointerdown', away);
    return () => document.removeEventListener('pointerdown', away);
  }, [onClose]);

  const pick = (emoji: string) => {
    localStorage.setItem(
      RECENT_KEY,
      [emoji, ...recent.filter((other) => other !== emoji)].slice(0, RECENT_MAX).join(' '),
    );
    onPick(emoji);
  };
  const found = query ? findEmoji(query.replaceAll(':', '').trim(), FOUND_MAX) : [];
  const grid = (list: readonly Emoji[]) => (
    <div className="emoji-grid">
      {list.map((one) => (
        <button
          key={one.name}
          type="button"
          title={`:${one.name}:`}
          aria-label={one.name.replaceAll('_', ' ')}
          onClick={() => pick(one.emoji)}
        >
          {one.emoji}
        </button>
      ))}
    </div>
  );

  return (
    <div
      ref={ref}
      className="emoji-panel"
      role="dialog"
      aria-label={texts.emoji.title}
      onKeyDown={(event) => {
        // None of the keys means anything to what is around it.
        event.stopPropagation();
        if (event.key === 'Escape') onClose();
      }}
    >
      <div className="emoji-panel__search">
        <SearchBox label={texts.emoji.search} value={query} onChange={setQuery} autoFocus />
      </div>
      <div className="emoji-panel__list" tabIndex={-1}>
        {query ? (
          found.length > 0 ? (
            grid(found)
          ) : (
            <p className="field__hint">{texts.emoji.none}</p>
          )
        ) : (
          <>
            {recent.length > 0 ? (
              <>
                <h2>{texts.emoji.recent}</h2>
                {grid(recent.map((emoji) => ({ name: emoji, emoji })))}
              </>
            ) : null}
            {EMOJI_GROUPS.map((group) => (
              <section key={group.title} aria-label={group.title}>
                <h2>{group.title}</h2>
                {grid(group.emoji)}
              </section>
            ))}
          </>
        )}
      </div>
    </div>
  );
}

function readRecent(): string[] {
  return (localStorage.getItem(RECENT_KEY) ?? '').split(' ').filter(Boolean);
}
