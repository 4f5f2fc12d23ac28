import type { Conversation, SearchHit } from '../../api/types';
import { plainText } from '../../lib/markup';
import { titleOf, useName } from '../../lib/names';
import { conversationPath, onLink } from '../../lib/router';
import { texts } from '../../lib/texts';
import { shortTime } from '../../lib/time';
import { Avatar } from '../../ui/Avatar';
import { contextOf } from './contextOf';

type Props = {
  hit: SearchHit;
  conversation: Conversation | null;
  q: string;
  me: string;
  within: string | null;
};

export function HitRow({ hit, conversation, q, me, within }: Props) {
  const name = useName(hit.from);
  const group = conversation?.kind === 'group';
  const title = conversation ? titleOf(conversation, me) : name;
  const path = conversationPath(hit.conversation, {
    at: hit.seq,
    side: 'search',
    ...(within === null ? {} : { within }),
  });
  const [before, match, after] = contextOf(plainText(hit.text, hit.text.length), q);
  return (
    <li>
      <a className="row row--hit" href={path} onClick={(event) => onLink(event, path)}>
        <Avatar
          id={conversation?.other?.id ?? hit.conversation}
          name={title}
          size={42}
          group={group}
        />
        <span className="row__main">
          <span className="row__top">
            <span className="row__name ellipsis">{title}</span>
            <time className="row__time">{shortTime(hit.ts, Date.now())}</time>
          </span>
          <span className="row__context" dir="auto">
            {hit.from === me ? `${texts.you}: ` : group ? `${name.split(' ')[0]}: ` : ''}
            {before}
            <mark>{match}</mark>
            {after}
          </span>
        </span>
      </a>
    </li>
  );
}
