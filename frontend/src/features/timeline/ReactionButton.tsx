import type { Reaction } from '../../api/types';
import { useName } from '../../lib/names';
import { texts } from '../../lib/texts';

type Props = { reaction: Reaction; me: string; onReact: (emoji: string, on: boolean) => void };

export function ReactionButton({ reaction: { emoji, users }, me, onReact }: Props) {
  const mine = users.includes(me);
  const others = users.filter((user) => user !== me);
  const [first, second] = [useName(others[0] ?? null), useName(others[1] ?? null)];
  const names = [
    mine ? texts.you : '',
    first,
    second,
    others.length > 2 ? texts.timeline.others(others.length - 2) : '',
  ];
  const label = mine
    ? texts.timeline.reactionRemove(emoji, users.length)
    : texts.timeline.reactionAdd(emoji, users.length);
  return (
    <button
      type="button"
      className="reaction"
      aria-pressed={mine}
      aria-label={label}
      title={texts.timeline.reactionBy(emoji, names.filter(Boolean).join(', '))}
      onClick={() => onReact(emoji, !mine)}
    >
      <span aria-hidden>{emoji}</span>
      <span aria-hidden>{users.length}</span>
    </button>
  );
}
