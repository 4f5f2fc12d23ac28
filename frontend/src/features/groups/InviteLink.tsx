import { Link, Link2Off } from 'lucide-react';
import { useInviteLink, useRevokeInvite } from '../../api/queries/conversations';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { copy } from '../../ui/copy';
import { toast } from '../../ui/Toasts';

export function InviteLink({ conversation }: { conversation: string }) {
  const create = useInviteLink(conversation);
  const revoke = useRevokeInvite(conversation);
  const fail = (failure: unknown) => toast(explain(failure));
  const address = create.data ? `${location.origin}${create.data.path}` : '';
  const createAndCopy = () =>
    create.mutate(undefined, {
      onError: fail,
      onSuccess: ({ path }) => void copy(`${location.origin}${path}`, texts.group.inviteCopied),
    });
  return (
    <div className="details__block">
      <h3>{texts.group.invite}</h3>
      <p className="details__text" style={{ overflowWrap: 'anywhere' }}>
        {address || texts.group.inviteHint}
      </p>
      <div className="details__actions">
        <Button busy={create.isPending} onClick={createAndCopy}>
          <Link size={18} aria-hidden />
          {texts.group.inviteCopy}
        </Button>
        {address ? (
          <Button
            onClick={() =>
              revoke.mutate(undefined, { onSuccess: () => create.reset(), onError: fail })
            }
          >
            <Link2Off size={18} aria-hidden />
            {texts.group.inviteRevoke}
          </Button>
        ) : null}
      </div>
    </div>
  );
}
