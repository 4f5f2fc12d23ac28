import { type FormEvent, useState } from 'react';
import { ApiError } from '../../api/problem';
import { useChangePassword } from '../../api/queries/me';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { PasswordField } from '../../ui/PasswordField';
import { toast } from '../../ui/Toasts';

const PASSWORD_MIN = 8;
type Errors = { current?: string; new?: string };

export function PasswordForm({ username }: { username: string }) {
  const change = useChangePassword();
  const [errors, setErrors] = useState<Errors>({});
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const given = { current: String(data.get('current')), new: String(data.get('new')) };
    if (!given.current) return setErrors({ current: texts.auth.passwordEmpty });
    if ([...given.new].length < PASSWORD_MIN) return setErrors({ new: texts.auth.tooShort });
    setErrors({});
    change.mutate(given, {
      onSuccess: () => {
        form.reset();
        toast(texts.settings.passwordChanged);
      },
      onError: (failure) => {
        const wrong = failure instanceof ApiError && failure.code === 'bad_credentials';
        setErrors(wrong ? { current: texts.settings.passwordWrong } : { new: explain(failure) });
      },
    });
  };
  return (
    <form className="card" onSubmit={submit} noValidate>
      <h2>{texts.settings.password}</h2>
      <input type="text" name="username" autoComplete="username" value={username} readOnly hidden />
      <PasswordField
        label={texts.settings.passwordCurrent}
        name="current"
        autoComplete="current-password"
        error={errors.current}
      />
      <PasswordField
        label={texts.settings.passwordNew}
        name="new"
        autoComplete="new-password"
        hint={texts.auth.passwordHint}
        error={errors.new}
      />
      <Button type="submit" variant="primary" busy={change.isPending}>
        {texts.settings.passwordChange}
      </Button>
    </form>
  );
}
