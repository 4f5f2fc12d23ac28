import { Ellipsis, Reply, SmilePlus } from 'lucide-react';
import { type KeyboardEvent, type MouseEvent, memo, useRef, useState } from 'react';
import { useName } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Avatar } from '../../ui/Avatar';
import { EmojiPopover } from '../../ui/EmojiPopover';
import { IconButton } from '../../ui/IconButton';
import type { MenuPlace } from '../../ui/Menu';
import type { MessageActions, Viewer } from './actions';
import { Bubble } from './Bubble';
import { FailedNote } from './FailedNote';
import { MessageMenu } from './MessageMenu';
import { Reactions } from './Reactions';
import type { MessageLike } from './rows';
import './message.css';
import './tools.css';

type Props = {
  entry: MessageLike;
  first: boolean;
  last: boolean;
  focused: boolean;
  viewer: Viewer;
  actions: MessageActions;
};
const LONG_PRESS_MS = 450;

export const Message = memo(function Message({
  entry,
  first,
  last,
  focused,
  viewer,
  actions,
}: Props) {
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const [picker, setPicker] = useState<MenuPlace | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const own = entry.from === viewer.me;
  const name = useName(entry.from);
  const stored = entry.kind === 'message' && !entry.deleted ? entry : null;
  const side = !own && !viewer.direct;
  const classes = [
    'msg',
    own ? 'msg--own' : '',
    first ? 'msg--first' : '',
    last ? 'msg--last' : '',
    focused ? 'msg--focus' : '',
    viewer.direct ? 'msg--direct' : '',
  ];
  const cancel = () => clearTimeout(timer.current);
  const openAt = (event: MouseEvent<HTMLElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    setMenu({ x: box.left, y: box.bottom + 4 });
  };
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    if (!stored || event.target !== event.currentTarget) return;
    const box = event.currentTarget.getBoundingClientRect();
    if (event.key === 'Enter' || event.key === 'ContextMenu')
      setMenu({ x: box.left + box.width / 2, y: Math.min(box.bottom, innerHeight - 120) });
    else if (event.key === 'r' && viewer.canWrite) actions.onReply(stored);
    else if (event.key === 'e' && own) actions.onEdit(stored);
    else if (event.key === 'Delete' && (own || viewer.canModerate)) actions.onDelete(stored);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <article
      className={classes.filter(Boolean).join(' ')}
      tabIndex={-1}
      data-message
      aria-label={`${own ? texts.you : name}: ${stored ? entry.text.slice(0, 200) : entry.kind === 'message' ? texts.timeline.deleted : entry.text.slice(0, 200)}`}
      onKeyDown={onKeyDown}
      onContextMenu={(event) => {
        if (
          !stored ||
          !(event.target instanceof Element) ||
          event.target.closest('a') ||
          getSelection()?.type === 'Range'
        )
          return;
        event.preventDefault();
        setMenu({ x: event.clientX, y: event.clientY });
      }}
      onTouchStart={(event) => {
        const touch = event.touches[0];
        const place = { x: touch?.clientX ?? 0, y: touch?.clientY ?? 0 };
        timer.current = setTimeout(() => stored && setMenu(place), LONG_PRESS_MS);
      }}
      onTouchMove={cancel}
      onTouchEnd={cancel}
    >
      <div className="msg__body">
        <div className="msg__line">
          {side && last ? (
            <span className="msg__avatar">
              <Avatar id={entry.from} name={name} size={34} />
            </span>
          ) : null}
          <Bubble
            entry={entry}
            viewer={viewer}
            actions={actions}
            name={side && first ? name : null}
          />
          {stored ? (
            <span className="msg__track">
              <span className="msg__tools">
                <IconButton label={texts.timeline.react} tabIndex={-1} onClick={openAt}>
                  <SmilePlus size={17} aria-hidden />
                </IconButton>
                {viewer.canWrite ? (
                  <IconButton
                    label={texts.timeline.reply}
                    tabIndex={-1}
                    onClick={() => actions.onReply(stored)}
                  >
                    <Reply size={17} aria-hidden />
                  </IconButton>
                ) : null}
                <IconButton
                  label={texts.timeline.actions}
                  tabIndex={-1}
                  aria-haspopup="menu"
                  aria-expanded={menu !== null}
                  onClick={openAt}
                >
                  <Ellipsis size={17} aria-hidden />
                </IconButton>
              </span>
            </span>
          ) : null}
        </div>
        {stored ? (
          <Reactions
            reactions={stored.reactions}
            me={viewer.me}
            onReact={(emoji, on) => actions.onReact(stored.seq, emoji, on)}
          />
        ) : null}
        {entry.kind === 'pending' && entry.status.state === 'failed' ? (
          <FailedNote id={entry.id} code={entry.status.code} actions={actions} />
        ) : null}
      </div>
      {menu && stored ? (
        <MessageMenu
          entry={stored}
          viewer={viewer}
          actions={actions}
          place={menu}
          onClose={() => setMenu(null)}
          onMore={() => {
            setMenu(null);
            // After the menu has given the focus back, or it would take it from the picker.
            setTimeout(() => setPicker(menu), 0);
          }}
        />
      ) : null}
      {picker && stored ? (
        <EmojiPopover
          place={picker}
          onPick={(emoji) => actions.onReact(stored.seq, emoji, true)}
          onClose={() => setPicker(null)}
        />
      ) : null}
    </article>
  );
});
