import { ChevronDown } from 'lucide-react';
import { memo, useRef, useState } from 'react';
import type { Conversation } from '../../api/types';
import { texts } from '../../lib/texts';
import { IconButton } from '../../ui/IconButton';
import { Menu, type MenuPlace } from '../../ui/Menu';
import { ConversationRow } from './ConversationRow';
import { useConversationMenu } from './useConversationMenu';

type Props = { conversation: Conversation; current: boolean };
const LONG_PRESS_MS = 450;

/** A row and its menu: by its button, by right click and by long press. */
export const ConversationItem = memo(function ConversationItem({ conversation, current }: Props) {
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const entries = useConversationMenu(conversation);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const cancel = () => clearTimeout(timer.current);
  return (
    <li
      className="list-item"
      onContextMenu={(event) => {
        event.preventDefault();
        setMenu({ x: event.clientX, y: event.clientY });
      }}
      onTouchStart={(event) => {
        const touch = event.touches[0];
        const place = { x: touch?.clientX ?? 0, y: touch?.clientY ?? 0 };
        timer.current = setTimeout(() => setMenu(place), LONG_PRESS_MS);
      }}
      onTouchMove={cancel}
      onTouchEnd={cancel}
    >
      <ConversationRow conversation={conversation} current={current} />
      <IconButton
        className="list-item__menu"
        label={texts.list.actions}
        aria-haspopup="menu"
        aria-expanded={menu !== null}
        onClick={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setMenu({ x: box.left, y: box.bottom + 4 });
        }}
      >
        <ChevronDown size={18} aria-hidden />
      </IconButton>
      {menu ? (
        <Menu
          label={texts.list.actions}
          place={menu}
          entries={entries}
          onClose={() => setMenu(null)}
        />
      ) : null}
    </li>
  );
});
