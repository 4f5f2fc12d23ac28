import { LogOut, Pencil, UserPlus } from 'lucide-react';
import { useState } from 'react';
import { useChangeMembers, useMembers } from '../../api/queries/conversations';
import type { Conversation, Me, Member } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { navigate } from '../../lib/router';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Confirm } from '../../ui/Confirm';
import { LoadFailed } from '../../ui/LoadFailed';
import { AddPeople } from './AddPeople';
import { InviteLink } from './InviteLink';
import { MemberRow } from './MemberRow';
import { RenameGroup } from './RenameGroup';
import '../../ui/rows.css';

const RANK = { owner: 0, admin: 1, member: 2 } as const;

/** Who can change things comes first; then by name. */
function byRole(a: Member, b: Member): number {
  return RANK[a.role] - RANK[b.role] || nameOf(a.user).localeCompare(nameOf(b.user));
}

type Props = { me: Me; conversation: Conversation };

export function GroupDetails({ me, conversation }: Props) {
  const { id, role, title } = conversation;
  const members = useMembers(id);
  const change = useChangeMembers(id);
  const [dialog, setDialog] = useState<'add' | 'rename' | 'leave' | null>(null);
  const close = () => setDialog(null);
  const list = (members.data?.pages.flatMap((page) => page.members) ?? []).sort(byRole);
  const moderator = role === 'admin' || role === 'owner';
  const leave = async () => {
    await change.mutateAsync({ do: 'remove', user: me.id });
    navigate('/');
  };
  return (
    <>
      {moderator ? <InviteLink conversation={id} /> : null}
      <div className="details__block">
        <h3>{texts.group.members}</h3>
        {moderator ? (
          <Button variant="quiet" small onClick={() => setDialog('add')}>
            <UserPlus size={17} aria-hidden />
            {texts.group.add}
          </Button>
        ) : null}
        {members.isError && !members.data ? (
          <LoadFailed text={explain(members.error)} onRetry={() => void members.refetch()} />
        ) : null}
        <ul className="details__list">
          {list.map((member) => (
            <MemberRow
              key={member.user.id}
              member={member}
              me={me}
              myRole={role}
              onChange={change.mutateAsync}
            />
          ))}
        </ul>
        {members.hasNextPage ? (
          <Button variant="quiet" small wide onClick={() => void members.fetchNextPage()}>
            {texts.people.showMore}
          </Button>
        ) : null}
      </div>
      {role === null ? null : (
        <div className="details__block">
          <div className="details__actions">
            {moderator ? (
              <Button onClick={() => setDialog('rename')}>
                <Pencil size={18} aria-hidden />
                {texts.group.rename}
              </Button>
            ) : null}
            <Button className="btn--quiet-danger" onClick={() => setDialog('leave')}>
              <LogOut size={18} aria-hidden />
              {texts.group.leave}
            </Button>
          </div>
        </div>
      )}
      {dialog === 'add' ? (
        <AddPeople
          conversation={id}
          without={list.map((member) => member.user.id)}
          onClose={close}
        />
      ) : null}
      {dialog === 'rename' ? (
        <RenameGroup conversation={id} title={title ?? ''} onClose={close} />
      ) : null}
      {dialog === 'leave' ? (
        <Confirm
          title={texts.group.leaveTitle}
          text={texts.group.leaveText}
          action={texts.group.leave}
          explain={explain}
          onConfirm={leave}
          onClose={close}
        />
      ) : null}
    </>
  );
}
