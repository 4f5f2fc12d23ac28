import { CalendarDays, EllipsisVertical } from 'lucide-react';
import { useState } from 'react';
import type { Conversation } from '../api/types';
import { useConversationMenu } from '../features/conversations/useConversationMenu';
import { texts } from '../lib/texts';
import { IconButton } from '../ui/IconButton';
import { Menu, type MenuPlace } from '../ui/Menu';

type Props = { conversation: Conversation; onDate: () => void };

/** What can be done with the open conversation: what its row offers, and going to a day. */
export function HeadMenu({ conversation, onDate }: Props) {
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const entries = useConversationMenu(conversation);
  return (
    <>
      <IconButton
        label={texts.list.actions}
        aria-haspopup="menu"
        aria-expanded={menu !== null}
        onClick={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setMenu({ x: box.right - 208, y: box.bottom + 4 });
        }}
      >
        <EllipsisVertical size={20} aria-hidden />
      </IconButton>
      {menu ? (
        <Menu
          label={texts.list.actions}
          place={menu}
          onClose={() => setMenu(null)}
          entries={[
            {
              label: texts.timeline.jumpToDate,
              icon: <CalendarDays size={18} aria-hidden />,
              onSelect: onDate,
            },
            ...entries,
          ]}
        />
      ) : null}
    </>
  );
}
