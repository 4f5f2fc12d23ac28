import { type ReactNode, useEffect, useLayoutEffect, useRef } from 'react';

export type MenuEntry =
  | { label: string; icon: ReactNode; onSelect: () => void; danger?: boolean }
  | 'separator';

/** Where it opens: beside an element, or at a point. */
export type MenuPlace = { x: number; y: number };

type Props = {
  label: string;
  place: MenuPlace;
  entries: MenuEntry[];
  onClose: () => void;
  header?: ReactNode;
};

const MARGIN = 8;

/** A menu in the browser's top layer, with the arrow keys, Escape and a click elsewhere doing what one expects. */
export function Menu({ label, place, entries, onClose, header }: Props) {
  const ref = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const menu = ref.current;
    if (!menu) return;
    menu.showPopover();
    const { width, height } = menu.getBoundingClientRect();
    // As properties: on a phone the style sheet puts it at the bottom instead.
    const x = Math.max(MARGIN, Math.min(place.x, innerWidth - width - MARGIN));
    const y = Math.max(MARGIN, Math.min(place.y, innerHeight - height - MARGIN));
    menu.style.setProperty('--x', `${x}px`);
    menu.style.setProperty('--y', `${y}px`);
  }, [place]);

  useEffect(() => {
    const before = document.activeElement;
    ref.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus({ preventScroll: true });
    const away = (event: Event) => {
      if (event.target instanceof Node && !ref.current?.contains(event.target)) onClose();
    };
    document.addEventListener('pointerdown', away);
    return () => {
      document.removeEventListener('pointerdown', away);
      if (before instanceof HTMLElement && before.isConnected)
        before.focus({ preventScroll: true });
    };
  }, [onClose]);

  const move = (key: string): boolean => {
    const items = [...(ref.current?.querySelectorAll<HTMLElement>('[role=menuitem]') ?? [])];
    const next = nextItem(items, key);
    next?.focus();
    return next !== undefined;
  };

  return (
    <>
      <div className="menu-scrim" />
      <div
        ref={ref}
        popover="manual"
        className="menu"
        role="menu"
        aria-label={label}
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.key === 'Escape' || event.key === 'Tab') onClose();
          else if (!move(event.key)) return;
          event.preventDefault();
        }}
      >
        {header}
        {entries.map((entry, index) =>
          entry === 'separator' ? (
            <div key={index} className="menu__sep" role="separator" />
          ) : (
            <button
              key={entry.label}
              type="button"
              role="menuitem"
              className={entry.danger ? 'menu__item menu__item--danger' : 'menu__item'}
              onClick={() => {
                onClose();
                entry.onSelect();
              }}
            >
              {entry.icon}
              {entry.label}
            </button>
          ),
        )}
      </div>
    </>
  );
}

/** Items that stand in one group (the quick reactions) are one line: left and right walk in it, up and down leave it. */
function nextItem(items: readonly HTMLElement[], key: string): HTMLElement | undefined {
  const at = items.findIndex((item) => item.matches(':focus'));
  const groupOf = (item: HTMLElement | undefined) => item?.closest('[role=group]') ?? null;
  const group = groupOf(items[at]);
  const line = items.filter((item) => group !== null && groupOf(item) === group);
  const step = (from: readonly HTMLElement[], index: number, by: number) =>
    from[(index + by + from.length) % from.length];
  switch (key) {
    case 'Home':
      return items[0];
    case 'End':
      return items[items.length - 1];
    case 'ArrowRight':
    case 'ArrowLeft': {
      const here = line.findIndex((item) => item.matches(':focus'));
      return here < 0 ? undefined : step(line, here, key === 'ArrowRight' ? 1 : -1);
    }
    case 'ArrowDown':
    case 'ArrowUp': {
      // Of a group only its first item stands for the line.
      const firsts = items.filter(
        (item, index) => groupOf(item) === null || groupOf(item) !== groupOf(items[index - 1]),
      );
      const here = firsts.indexOf(line[0] ?? items[at] ?? document.body);
      return step(firsts, here, key === 'ArrowDown' ? 1 : -1);
    }
    default:
      return undefined;
  }
}
