import { Crown, Shield, User, UserMinus } from 'lucide-react';
import type { MemberAction } from '../../api/queries/conversations';
import { texts } from '../../lib/texts';
import type { Role } from '../../realtime';
import type { MenuEntry } from '../../ui/Menu';

/** What `mine` allows towards somebody with `role`: owners change roles, admins and owners remove. */
export function memberMenu(
  user: string,
  role: Role,
  mine: Role | null,
  act: (action: MemberAction) => void,
): MenuEntry[] {
  const entries: MenuEntry[] = [];
  const setRole = (to: Role) => act({ do: 'role', user, role: to });
  if (mine === 'owner') {
    if (role !== 'owner')
      entries.push({
        label: texts.group.makeOwner,
        icon: <Crown size={18} aria-hidden />,
        onSelect: () => setRole('owner'),
      });
    if (role !== 'admin')
      entries.push({
        label: texts.group.makeAdmin,
        icon: <Shield size={18} aria-hidden />,
        onSelect: () => setRole('admin'),
      });
    if (role !== 'member')
      entries.push({
        label: texts.group.makeMember,
        icon: <User size={18} aria-hidden />,
        onSelect: () => setRole('member'),
      });
  }
  if (mine === 'owner' || (mine === 'admin' && role === 'member')) {
    entries.push({
      label: texts.group.removeMember,
      icon: <UserMinus size={18} aria-hidden />,
      danger: true,
      onSelect: () => act({ do: 'remove', user }),
    });
  }
  return entries;
}
