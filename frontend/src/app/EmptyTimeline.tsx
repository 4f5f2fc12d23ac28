import type { Conversation } from '../api/types';
import { texts } from '../lib/texts';
import { Avatar } from '../ui/Avatar';

type Props = { conversation: Conversation; title: string };

/** Lies over the middle of a timeline in which nobody has written yet. */
export function EmptyTimeline({ conversation, title }: Props) {
  const group = conversation.kind === 'group';
  return (
    <div className="timeline__empty">
      <Avatar id={conversation.other?.id ?? conversation.id} name={title} size={72} group={group} />
      <h2>{group ? texts.timeline.emptyGroup : texts.timeline.emptyTitle(title)}</h2>
      <p>{texts.timeline.emptyText}</p>
    </div>
  );
}
