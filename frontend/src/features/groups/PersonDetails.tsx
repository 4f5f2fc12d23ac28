import { Ban } from 'lucide-react';
import { useState } from 'react';
import { useBlock, useBlocked } from '../../api/queries/me';
import type { Conversation, Me } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Confirm } from '../../ui/Confirm';

type Props = { me: Me; conversation: Conversation };

export function PersonDetails({ me, conversation }: Props) {
  const blocked = useBlocked();
  const block = useBlock();
  const [asking, setAsking] = useState(false);
  const { other } = conversation;
  if (!other || other.id === me.id) return null;
  const isBlocked = blocked.data?.some((user) => user.id === other.id) ?? false;
  return (
    <>
      {other.about ? (
        <div className="details__block">
          <h3>{texts.user.about}</h3>
          <p className="details__text">{other.about}</p>
        </div>
      ) : null}
      <div className="details__block">
        {isBlocked ? <p className="details__text">{texts.user.blocked}</p> : null}
        <div className="details__actions">
          {isBlocked ? (
            <Button onClick={() => block.mutate({ user: other.id, blocked: false })}>
              {texts.user.unblock}
            </Button>
          ) : (
            <Button className="btn--quiet-danger" onClick={() => setAsking(true)}>
              <Ban size={18} aria-hidden />
              {texts.user.block}
            </Button>
          )}
        </div>
      </div>
      {asking ? (
        <Confirm
          title={texts.user.blockTitle(nameOf(other))}
          text={texts.user.blockText}
          action={texts.user.block}
          explain={explain}
          onConfirm={() => block.mutateAsync({ user: other.id, blocked: true })}
          onClose={() => setAsking(false)}
        />
      ) : null}
    </>
  );
}
