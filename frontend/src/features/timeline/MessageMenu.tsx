import { Copy, Flag, Link, Pencil, Plus, Reply, Trash2 } from 'lucide-react';
import { QUICK_REACTIONS } from '../../lib/emoji';
import { texts } from '../../lib/texts';
import type { MessageEntry } from '../../realtime';
import { Menu, type MenuEntry, type MenuPlace } from '../../ui/Menu';
import type { MessageActions, Viewer } from './actions';
import { ReactedBy } from './ReactedBy';
import { ReadBy } from './ReadBy';

type Props = {
  entry: MessageEntry;
  viewer: Viewer;
  actions: MessageActions;
  place: MenuPlace;
  onClose: () => void;
  /** Another emoji than the quick ones. */
  onMore: () => void;
};

export function MessageMenu({ entry, viewer, actions, place, onClose, onMore }: Props) {
  const own = entry.from === viewer.me;
  const entries: MenuEntry[] = [];
  if (viewer.canWrite)
    entries.push({
      label: texts.timeline.reply,
      icon: <Reply size={18} aria-hidden />,
      onSelect: () => actions.onReply(entry),
    });
  entries.push({
    label: texts.timeline.copyText,
    icon: <Copy size={18} aria-hidden />,
    onSelect: () => actions.onCopy(entry.text),
  });
  entries.push({
    label: texts.timeline.copyLink,
    icon: <Link size={18} aria-hidden />,
    onSelect: () => actions.onCopyLink(entry.seq),
  });
  if (own && viewer.canWrite)
    entries.push({
      label: texts.timeline.edit,
      icon: <Pencil size={18} aria-hidden />,
      onSelect: () => actions.onEdit(entry),
    });
  if (!own)
    entries.push({
      label: texts.timeline.report,
      icon: <Flag size={18} aria-hidden />,
      onSelect: () => actions.onReport(entry),
    });
  if ((own && viewer.canWrite) || viewer.canModerate)
    entries.push('separator', {
      label: texts.timeline.delete,
      icon: <Trash2 size={18} aria-hidden />,
      danger: true,
      onSelect: () => actions.onDelete(entry),
    });

  const react = (emoji: string) => {
    const mine = entry.reactions.some(
      (reaction) => reaction.emoji === emoji && reaction.users.includes(viewer.me),
    );
    onClose();
    actions.onReact(entry.seq, emoji, !mine);
  };
  const quick = (
    <div className="quick" role="group" aria-label={texts.timeline.react}>
      {QUICK_REACTIONS.map((emoji) => (
        <button
          key={emoji}
          type="button"
          role="menuitem"
          aria-label={emoji}
          onClick={() => react(emoji)}
        >
          {emoji}
        </button>
      ))}
      <button
        type="button"
        role="menuitem"
        aria-label={texts.timeline.moreEmoji}
        title={texts.timeline.moreEmoji}
        onClick={onMore}
      >
        <Plus size={19} aria-hidden />
      </button>
    </div>
  );
  return (
    <Menu
      label={texts.timeline.actions}
      place={place}
      entries={entries}
      onClose={onClose}
      header={
        <>
          {viewer.canWrite ? quick : null}
          <ReactedBy reactions={entry.reactions} />
          {own && !viewer.direct ? (
            <ReadBy conversation={viewer.conversation} seq={entry.seq} />
          ) : null}
        </>
      }
    />
  );
}
