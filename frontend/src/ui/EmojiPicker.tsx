import { type KeyboardEvent, useEffect, useRef, useState } from 'react';
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
  // A keyboard that slides in would cover what there is to choose from.
  const [touch] = useState(() => matchMedia('(pointer: coarse)').matches);

  useEffect(() => {
    if (touch) ref.current?.focus({ preventScroll: true });
  }, [touch]);

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
      {list.map((one, index) => (
        <button
          key={one.name}
          type="button"
          data-emoji
          // Tab goes from group to group, the arrow keys within them.
          tabIndex={index === 0 ? 0 : -1}
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
      tabIndex={-1}
      className="emoji-panel"
      role="dialog"
      aria-label={texts.emoji.title}
      onKeyDown={(event) => {
        // None of the keys means anything to what is around it.
        event.stopPropagation();
        if (event.key === 'Escape') onClose();
        else moveFocus(event);
      }}
    >
      <div className="emoji-panel__search">
        <SearchBox
          label={texts.emoji.search}
          value={query}
          onChange={setQuery}
          autoFocus={!touch}
        />
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

const STEPS: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowRight: 1 };

/** Left and right step through all emoji; up and down to the nearest one in the next line. */
function moveFocus(event: KeyboardEvent<HTMLElement>): void {
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>('[data-emoji]')];
  const at = event.target instanceof HTMLElement ? all.indexOf(event.target) : -1;
  const vertical = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  const step = STEPS[event.key] ?? vertical;
  // In the field of the search only the way down leads into the list.
  if (step === 0 || (at < 0 && vertical !== 1)) return;
  const next = at < 0 ? all[0] : vertical === 0 ? all[at + step] : inNextLine(all, at, vertical);
  if (!next && vertical !== -1) return;
  event.preventDefault();
  if (next) next.focus();
  else event.currentTarget.querySelector('input')?.focus();
}

function inNextLine(all: readonly HTMLElement[], at: number, step: 1 | -1) {
  const from = all[at]?.getBoundingClientRect();
  if (!from) return undefined;
  let line: number | null = null;
  let best: HTMLElement | undefined;
  let bestGap = Number.POSITIVE_INFINITY;
  for (let index = at + step; ; index += step) {
    const one = all[index];
    const box = one?.getBoundingClientRect();
    if (!box || (line !== null && box.top !== line)) return best;
    if (box.top === from.top) continue;
    line = box.top;
    const gap = Math.abs(box.left - from.left);
    if (gap < bestGap) [best, bestGap] = [one, gap];
  }
}

function readRecent(): string[] {
  return (localStorage.getItem(RECENT_KEY) ?? '').split(' ').filter(Boolean);
}
