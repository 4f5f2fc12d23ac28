import type { Conversation } from '../../api/types';
import { useChat } from '../../lib/chat';
import { plainText } from '../../lib/markup';
import { isSelf, useName } from '../../lib/names';
import { texts } from '../../lib/texts';
import { useStore } from '../../lib/useStore';

type Props = { conversation: Conversation; current: boolean };

/** The second line of a row: who types, the draft, or the last message. */
export function Preview({ conversation, current }: Props) {
  const chat = useChat();
  const typing = useStore(chat.typing(conversation.id));
  const last = conversation.last_message;
  const own = last?.from === chat.me;
  // Notes to oneself have no other voice to be told from.
  const told = own && !isSelf(conversation, chat.me);
  const sender = useName(conversation.kind === 'group' && last && !own ? last.from : null);
  const classes = 'row__preview ellipsis';
  if (typing.length > 0)
    return <span className={`${classes} row__typing`}>{texts.typing.short}</span>;
  if (conversation.draft && !current) {
    return (
      <span className={classes}>
        <span className="row__draft">{texts.list.draft}</span> {plainText(conversation.draft)}
      </span>
    );
  }
  if (!last) return <span className={classes}>{texts.list.noMessages}</span>;
  return (
    <span className={classes}>
      {told ? `${texts.list.you} ` : sender ? `${sender.split(' ')[0]}: ` : ''}
      {last.deleted ? <em>{texts.list.deleted}</em> : plainText(last.text)}
    </span>
  );
}
