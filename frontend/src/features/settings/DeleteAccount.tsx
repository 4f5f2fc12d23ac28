import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ApiError } from '../../api/problem';
import { meKeys, useDeleteMe } from '../../api/queries/me';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Dialog } from '../../ui/Dialog';
import { PasswordField } from '../../ui/PasswordField';

export function DeleteAccount({ onClose }: { onClose: () => void }) {
  const [chat, queries] = [useChat(), useQueryClient()];
  const remove = useDeleteMe();
  const [password, setPassword] = useState('');
  const wrong = remove.error instanceof ApiError && remove.error.code === 'bad_credentials';
  const confirm = () =>
    remove.mutate(password, {
      onSuccess: async () => {
        await chat.forget();
        queries.clear();
        queries.setQueryData(meKeys.me, null);
      },
    });
  const error = wrong ? texts.settings.passwordWrong : remove.isError ? explain(remove.error) : '';
  return (
    <Dialog
      title={texts.settings.deleteTitle}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button
            variant="danger"
            busy={remove.isPending}
            disabled={password === ''}
            onClick={confirm}
          >
            {texts.settings.deleteAction}
          </Button>
        </>
      }
    >
      <p>{texts.settings.deleteHint}</p>
      <PasswordField
        label={texts.auth.password}
        autoComplete="current-password"
        value={password}
        error={error}
        onChange={(event) => setPassword(event.target.value)}
      />
    </Dialog>
  );
}
