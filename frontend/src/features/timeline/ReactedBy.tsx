import type { Reaction } from '../../api/types';
import { ReaderName } from './ReaderName';

type Props = { reactions: readonly Reaction[] };
/** A menu is no list of members: the first ones by name, the others as a number. */
const NAMES_MAX = 6;
const LINES_MAX = 5;

/** Who reacted with what, for those who cannot hover. */
export function ReactedBy({ reactions }: Props) {
  const shown = reactions.filter((reaction) => reaction.users.length > 0).slice(0, LINES_MAX);
  if (shown.length === 0) return null;
  return (
    <div className="read-by" role="group">
      {shown.map(({ emoji, users }) => (
        <div key={emoji}>
          {emoji}
          {users.slice(0, NAMES_MAX).map((user) => (
            <ReaderName key={user} user={user} />
          ))}
          {users.length > NAMES_MAX ? <span>+{users.length - NAMES_MAX}</span> : null}
        </div>
      ))}
    </div>
  );
}
