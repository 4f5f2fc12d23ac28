import { useBlock, useBlocked, usePatchMe } from '../../api/queries/me';
import type { Me, MePatch } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Avatar } from '../../ui/Avatar';
import { Button } from '../../ui/Button';
import { LoadFailed } from '../../ui/LoadFailed';
import { Switch } from '../../ui/Switch';
import { toast } from '../../ui/Toasts';

export function Privacy({ me }: { me: Me }) {
  const patch = usePatchMe();
  const blocked = useBlocked();
  const block = useBlock();
  const fail = (failure: unknown) => toast(explain(failure));
  const set = (change: MePatch) => patch.mutate(change, { onError: fail });
  return (
    <>
      <div className="card">
        <Switch
          label={texts.settings.hidden}
          hint={texts.settings.hiddenHint}
          checked={me.hidden}
          onChange={(hidden) => set({ hidden })}
        />
        <Switch
          label={texts.settings.receipts}
          hint={texts.settings.receiptsHint}
          checked={!me.receipts_off}
          onChange={(on) => set({ receipts_off: !on })}
        />
      </div>
      <div className="card">
        <h2>{texts.settings.blockedTitle}</h2>
        {blocked.isError && !blocked.data ? (
          <LoadFailed text={explain(blocked.error)} onRetry={() => void blocked.refetch()} />
        ) : null}
        {blocked.data?.length === 0 ? <p className="hint">{texts.settings.blockedNone}</p> : null}
        <ul>
          {blocked.data?.map((user) => (
            <li key={user.id} className="card__line">
              <Avatar id={user.id} name={nameOf(user)} size={36} />
              <span className="card__text">{nameOf(user)}</span>
              <Button
                small
                onClick={() => block.mutate({ user: user.id, blocked: false }, { onError: fail })}
              >
                {texts.user.unblock}
              </Button>
            </li>
          ))}
        </ul>
      </div>
    </>
  );
}
