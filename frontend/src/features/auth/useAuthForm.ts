import { type FormEvent, useState } from 'react';
import { texts } from '../../lib/texts';

export type AuthMode = 'login' | 'register';
export type AuthValues = {
  username: string;
  password: string;
  displayName: string;
  invite: string;
};
export type AuthErrors = Partial<Record<keyof AuthValues | 'form', string>>;

const PASSWORD_MIN = 8;
const USERNAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{2,31}$/;

/** What is wrong before the server needs to be asked. */
export function checkValues(mode: AuthMode, values: AuthValues): AuthErrors {
  const errors: AuthErrors = {};
  if (!values.username.trim()) errors.username = texts.auth.nameEmpty;
  else if (mode === 'register' && !USERNAME.test(values.username.trim()))
    errors.username = texts.auth.nameBad;
  if (!values.password) errors.password = texts.auth.passwordEmpty;
  else if (mode === 'register' && [...values.password].length < PASSWORD_MIN)
    errors.password = texts.auth.tooShort;
  return errors;
}

/** The form's values, errors and submission. A password manager may fill fields without events: they are read from the form. */
export function useAuthForm(
  mode: AuthMode,
  send: (values: AuthValues) => Promise<void>,
  explain: (failure: unknown) => AuthErrors,
) {
  const [errors, setErrors] = useState<AuthErrors>({});
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const text = (name: string) => String(data.get(name) ?? '');
    const values = {
      username: text('username').trim(),
      password: text('password'),
      displayName: text('display_name').trim(),
      invite: text('invite').trim(),
    };
    const found = checkValues(mode, values);
    setErrors(found);
    if (Object.keys(found).length > 0 || busy) {
      form
        .querySelector<HTMLInputElement>(found.username ? '[name=username]' : '[name=password]')
        ?.focus();
      return;
    }
    setBusy(true);
    try {
      await send(values);
    } catch (failure) {
      setErrors(explain(failure));
    } finally {
      setBusy(false);
    }
  };
  return { errors, busy, submit };
}
