import { Ban, CircleCheck, Ellipsis, KeyRound, Shield } from 'lucide-react';
import { useState } from 'react';
import { usePatchAdminUser } from '../../api/queries/admin';
import type { AdminUser, AdminUserPatch, Me } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { spokenTime } from '../../lib/time';
import { Avatar } from '../../ui/Avatar';
import { IconButton } from '../../ui/IconButton';
import { Menu, type MenuEntry, type MenuPlace } from '../../ui/Menu';
import { toast } from '../../ui/Toasts';
import { ResetPassword } from './ResetPassword';

export function UserLine({ user, me }: { user: AdminUser; me: Me }) {
  const patch = usePatchAdminUser();
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const [resetting, setResetting] = useState(false);
  const set = (change: AdminUserPatch) =>
    patch.mutate(
      { id: user.id, ...change },
      { onError: (failure: unknown) => toast(explain(failure)) },
    );
  const { disabled, admin } = user;
  const entries: MenuEntry[] = [
    {
      label: texts.admin.resetPassword,
      icon: <KeyRound size={18} aria-hidden />,
      onSelect: () => setResetting(true),
    },
    {
      label: admin ? texts.admin.removeAdmin : texts.admin.makeAdmin,
      icon: <Shield size={18} aria-hidden />,
      onSelect: () => set({ admin: !admin }),
    },
    {
      label: disabled ? texts.admin.enable : texts.admin.disable,
      icon: disabled ? <CircleCheck size={18} aria-hidden /> : <Ban size={18} aria-hidden />,
      danger: !disabled,
      onSelect: () => set({ disabled: !disabled }),
    },
  ];
  const seen =
    user.last_seen === null
      ? ''
      : ` · ${texts.presence.lastSeen(spokenTime(user.last_seen, Date.now()))}`;
  return (
    <li className="card__line">
      <Avatar id={user.id} name={nameOf(user)} size={40} />
      <span className="card__text">
        {nameOf(user)}
        <small>
          @{user.username}
          {admin ? ` · ${texts.admin.isAdmin}` : ''}
          {disabled ? ` · ${texts.admin.disabled}` : ''}
          {seen}
        </small>
      </span>
      {user.id === me.id ? null : (
        <IconButton
          label={texts.admin.userActions(nameOf(user))}
          aria-haspopup="menu"
          aria-expanded={menu !== null}
          onClick={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            setMenu({ x: box.right - 210, y: box.bottom });
          }}
        >
          <Ellipsis size={19} aria-hidden />
        </IconButton>
      )}
      {menu ? (
        <Menu
          label={texts.admin.userActions(nameOf(user))}
          place={menu}
          entries={entries}
          onClose={() => setMenu(null)}
        />
      ) : null}
      {resetting ? <ResetPassword user={user} onClose={() => setResetting(false)} /> : null}
    </li>
  );
}
