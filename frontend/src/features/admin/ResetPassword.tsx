import { useState } from 'react';
import { usePatchAdminUser } from '../../api/queries/admin';
import type { AdminUser } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Dialog } from '../../ui/Dialog';
import { PasswordField } from '../../ui/PasswordField';
import { toast } from '../../ui/Toasts';

const PASSWORD_MIN = 8;

export function ResetPassword({ user, onClose }: { user: AdminUser; onClose: () => void }) {
  const patch = usePatchAdminUser();
  const [password, setPassword] = useState('');
  const save = () =>
    patch.mutate(
      { id: user.id, password },
      {
        onSuccess: () => {
          toast(texts.admin.passwordSet);
          onClose();
        },
      },
    );
  return (
    <Dialog
      title={`${texts.admin.resetPassword}: ${nameOf(user)}`}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button
            variant="primary"
            busy={patch.isPending}
            disabled={[...password].length < PASSWORD_MIN}
            onClick={save}
          >
            {texts.save}
          </Button>
        </>
      }
    >
      <PasswordField
        label={texts.admin.newPassword}
        autoComplete="new-password"
        hint={texts.auth.passwordHint}
        value={password}
        error={patch.isError ? explain(patch.error) : undefined}
        onChange={(event) => setPassword(event.target.value)}
      />
    </Dialog>
  );
}
