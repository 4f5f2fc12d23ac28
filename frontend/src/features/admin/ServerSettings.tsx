import { useEffect, useState } from 'react';
import {
  useAdminSettings,
  usePatchAdminSettings,
  useRegistrationInvite,
} from '../../api/queries/admin';
import type { Directory, InstanceSettings, Registration } from '../../api/types';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Field } from '../../ui/Field';
import { LoadFailed } from '../../ui/LoadFailed';
import { Segmented } from '../../ui/Segmented';
import { Skeleton } from '../../ui/Skeleton';
import { toast } from '../../ui/Toasts';

const { registrationModes: modes, directories } = texts.admin;
const REGISTRATION: readonly (readonly [Registration, string])[] = [
  ['open', modes.open],
  ['invite', modes.invite],
  ['closed', modes.closed],
];
const DIRECTORY: readonly (readonly [Directory, string])[] = [
  ['open', directories.open],
  ['contacts', directories.contacts],
];
const NAME_MAX = 64;

export function ServerSettings() {
  const settings = useAdminSettings();
  const patch = usePatchAdminSettings();
  const invite = useRegistrationInvite();
  const [name, setName] = useState('');
  const stored = settings.data?.name ?? '';
  useEffect(() => setName(stored), [stored]);
  if (settings.isError && !settings.data)
    return <LoadFailed text={explain(settings.error)} onRetry={() => void settings.refetch()} />;
  if (!settings.data) return <Skeleton width="100%" height={220} radius={16} />;
  const set = (change: Partial<InstanceSettings>) =>
    patch.mutate(change, {
      onSuccess: () => toast(texts.saved),
      onError: (failure) => toast(explain(failure)),
    });
  return (
    <>
      <form
        className="card"
        onSubmit={(event) => {
          event.preventDefault();
          set({ name: name.trim() });
        }}
      >
        <Field
          label={texts.admin.name}
          value={name}
          maxLength={NAME_MAX}
          onChange={(event) => setName(event.target.value)}
        />
        <Button type="submit" disabled={name.trim() === '' || name.trim() === stored}>
          {texts.save}
        </Button>
      </form>
      <div className="card">
        <div className="card__line">
          <span className="card__text">{texts.admin.registration}</span>
          <Segmented
            label={texts.admin.registration}
            value={settings.data.registration}
            options={REGISTRATION}
            onChange={(registration) => set({ registration })}
          />
        </div>
        <div className="card__line">
          <span className="card__text">{texts.admin.directory}</span>
          <Segmented
            label={texts.admin.directory}
            value={settings.data.directory}
            options={DIRECTORY}
            onChange={(directory) => set({ directory })}
          />
        </div>
        <div className="card__line">
          <span className="card__text">
            {texts.admin.invitations}
            <small>{texts.admin.inviteHint}</small>
          </span>
          <Button small busy={invite.isPending} onClick={() => invite.mutate()}>
            {texts.admin.invite}
          </Button>
        </div>
        {invite.data ? <p className="code-box">{invite.data.code}</p> : null}
      </div>
    </>
  );
}
