import type { UserCard } from '../../api/types';
import { nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Avatar } from '../../ui/Avatar';

type Props = { user: UserCard; online: boolean; onTalk: (user: UserCard) => void };

export function PersonRow({ user, online, onTalk }: Props) {
  return (
    <li>
      <button
        type="button"
        className="row row--person"
        aria-label={texts.people.talk(nameOf(user))}
        onClick={() => onTalk(user)}
      >
        <Avatar id={user.id} name={nameOf(user)} size={42} online={online} />
        <span className="row__main">
          <span className="row__name ellipsis">{nameOf(user)}</span>
          <span className="row__sub ellipsis">
            @{user.username}
            {user.about ? ` · ${user.about}` : ''}
          </span>
        </span>
      </button>
    </li>
  );
}
