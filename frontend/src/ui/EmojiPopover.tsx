import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { Lazy, Part } from './Lazy';
import type { MenuPlace } from './Menu';

const EmojiPicker = new Part(() => import('./EmojiPicker'));
const MARGIN = 8;
/** Of the picker, known before it is loaded. */
const SIZE = { width: 360, height: 340 };

type Props = { place: MenuPlace; onPick: (emoji: string) => void; onClose: () => void };

/** The emoji picker in the top layer, at a point. */
export function EmojiPopover({ place, onPick, onClose }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const panel = ref.current;
    if (!panel) return;
    panel.showPopover();
    // As properties: on a phone the style sheet puts it at the bottom instead.
    const x = Math.max(MARGIN, Math.min(place.x, innerWidth - SIZE.width - MARGIN));
    const y = Math.max(MARGIN, Math.min(place.y, innerHeight - SIZE.height - MARGIN));
    panel.style.setProperty('--x', `${x}px`);
    panel.style.setProperty('--y', `${y}px`);
  }, [place]);
  const [before] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      if (before instanceof HTMLElement && before.isConnected)
        before.focus({ preventScroll: true });
    },
    [before],
  );
  return (
    <>
      <div className="menu-scrim" />
      <div ref={ref} popover="manual" className="emoji-popover">
        <Lazy
          part={EmojiPicker}
          props={{
            onPick: (emoji) => {
              onClose();
              onPick(emoji);
            },
            onClose,
          }}
        />
      </div>
    </>
  );
}
