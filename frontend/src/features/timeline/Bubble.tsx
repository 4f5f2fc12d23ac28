import { isEmojiOnly, parseBlocks } from '../../lib/markup';
import { mentions } from '../../lib/mentions';
import { texts } from '../../lib/texts';
import { clockTime, fullTime } from '../../lib/time';
import { colourOf } from '../../ui/Avatar';
import type { MessageActions, Viewer } from './actions';
import { MessageText } from './MessageText';
import { ReplyQuote } from './ReplyQuote';
import type { MessageLike } from './rows';
import { Ticks } from './Ticks';

type Props = { entry: MessageLike; viewer: Viewer; actions: MessageActions; name: string | null };

/** No three emoji are longer. */
const EMOJI_TEXT_MAX = 100;

export function Bubble({ entry, viewer, actions, name }: Props) {
  const stored = entry.kind === 'message' ? entry : null;
  const deleted = stored?.deleted === true;
  const mentioned = !deleted && entry.from !== viewer.me && mentions(entry.text, viewer.username);
  const emoji =
    !deleted && !entry.reply_to && isEmojiOnly(parseBlocks(entry.text.slice(0, EMOJI_TEXT_MAX)));
  const classes = [
    'bubble',
    deleted ? 'bubble--gone' : '',
    mentioned ? 'bubble--mention' : '',
    emoji ? 'bubble--emoji' : '',
  ]
    .filter(Boolean)
    .join(' ');
  return (
    <div className={classes}>
      {name === null ? null : (
        <span
          className="bubble__from ellipsis"
          style={{ color: `color-mix(in srgb, ${colourOf(entry.from)} 55%, var(--text))` }}
        >
          {name}
        </span>
      )}
      {entry.reply_to && !deleted ? (
        <ReplyQuote quote={entry.reply_to} me={viewer.me} onJump={actions.onJump} />
      ) : null}
      {deleted ? (
        <span className="text">{texts.timeline.deleted}</span>
      ) : (
        <MessageText text={entry.text} ownUsername={viewer.username} />
      )}
      <span className="bubble__meta">
        {stored?.edited_ts && !deleted ? (
          <span title={texts.timeline.editedAt(fullTime(stored.edited_ts))}>
            {texts.timeline.edited}
          </span>
        ) : null}
        <time dateTime={new Date(entry.ts).toISOString()} title={fullTime(entry.ts)}>
          {clockTime(entry.ts)}
        </time>
        {entry.status && !deleted ? <Ticks status={entry.status} /> : null}
      </span>
    </div>
  );
}
