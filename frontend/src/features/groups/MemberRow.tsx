import { Ellipsis } from 'lucide-react';
import { useState } from 'react';
import type { MemberAction } from '../../api/queries/conversations';
import type { Me, Member } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { usePresence } from '../../lib/usePresence';
import type { Role } from '../../realtime';
import { Avatar } from '../../ui/Avatar';
import { IconButton } from '../../ui/IconButton';
import { Menu, type MenuPlace } from '../../ui/Menu';
import { toast } from '../../ui/Toasts';
import { memberMenu } from './memberMenu';

type Props = {
  member: Member;
  me: Me;
  myRole: Role | null;
  onChange: (action: MemberAction) => Promise<unknown>;
};

export function MemberRow({ member: { user, role }, me, myRole, onChange }: Props) {
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const presence = usePresence(user.id === me.id ? null : user.id);
  const name = nameOf(user);
  const entries =
    user.id === me.id
      ? []
      : memberMenu(
          user.id,
          role,
          myRole,
          (action) => void onChange(action).catch((failure: unknown) => toast(explain(failure))),
        );
  return (
    <li
      className="row row--person"
      style={{ gridTemplateColumns: 'auto minmax(0, 1fr) auto auto' }}
    >
      <Avatar
        id={user.id}
        name={name}
        size={38}
        online={presence.state === 'online' && !presence.stale}
      />
      <span className="row__main">
        <span className="row__name ellipsis">
          {user.id === me.id ? `${name} (${texts.you})` : name}
        </span>
        <span className="row__sub ellipsis">@{user.username}</span>
      </span>
      {role === 'member' ? null : <span className="role">{texts.roles[role]}</span>}
      {entries.length > 0 ? (
        <IconButton
          label={texts.group.memberActions(name)}
          aria-haspopup="menu"
          aria-expanded={menu !== null}
          onClick={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            setMenu({ x: box.right - 210, y: box.bottom });
          }}
        >
          <Ellipsis size={18} aria-hidden />
        </IconButton>
      ) : null}
      {menu ? (
        <Menu
          label={texts.group.memberActions(name)}
          place={menu}
          entries={entries}
          onClose={() => setMenu(null)}
        />
      ) : null}
    </li>
  );
}
