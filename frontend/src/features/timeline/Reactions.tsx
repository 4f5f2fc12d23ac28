import type { Reaction } from '../../api/types';
import { texts } from '../../lib/texts';
import { ReactionButton } from './ReactionButton';

type Props = {
  reactions: readonly Reaction[];
  me: string;
  onReact: (emoji: string, on: boolean) => void;
};

export function Reactions({ reactions, me, onReact }: Props) {
  const shown = reactions.filter((reaction) => reaction.users.length > 0);
  if (shown.length === 0) return null;
  return (
    <div className="reactions" role="group" aria-label={texts.timeline.reactions}>
      {shown.map((reaction) => (
        <ReactionButton key={reaction.emoji} reaction={reaction} me={me} onReact={onReact} />
      ))}
    </div>
  );
}
