import type { ReactNode } from 'react';
import { ApiError } from '../../api/problem';
import { useInstance, useLogin, useRegister } from '../../api/queries/me';
import { explain } from '../../lib/names';
import { navigate, onLink } from '../../lib/router';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Field } from '../../ui/Field';
import { PasswordField } from '../../ui/PasswordField';
import { AuthArt } from './AuthArt';
import { type AuthErrors, type AuthMode, type AuthValues, useAuthForm } from './useAuthForm';
import './auth.css';

type Props = {
  mode: AuthMode;
  logo: ReactNode;
  /** Why the session before ended, if there was one. */
  ended: string | null;
};
const RETURN_KEY = 'webchat.return';

export function AuthPage({ mode, logo, ended }: Props) {
  const instance = useInstance();
  const [login, register] = [useLogin(), useRegister()];
  const registering = mode === 'register';
  const send = async ({ username, password, displayName, invite }: AuthValues) => {
    if (registering) {
      await register.mutateAsync({
        username,
        password,
        ...(displayName ? { display_name: displayName } : {}),
        ...(invite ? { invite } : {}),
      });
    } else await login.mutateAsync({ username, password });
    if (location.pathname === '/login' || location.pathname === '/register') {
      navigate(sessionStorage.getItem(RETURN_KEY) ?? '/', 'replace');
      sessionStorage.removeItem(RETURN_KEY);
    }
  };
  const { errors, busy, submit } = useAuthForm(mode, send, explainAuth);
  const first = instance.data?.has_users === false;
  const closed = registering && instance.data?.registration === 'closed' && !first;
  const other = registering ? '/login' : '/register';
  const hint = !registering
    ? texts.auth.signInHint
    : first
      ? texts.auth.firstHint
      : texts.auth.createHint;

  const leave = () => {
    if (location.pathname.startsWith('/join/'))
      sessionStorage.setItem(RETURN_KEY, location.pathname);
  };

  return (
    <div className="auth">
      <main className="auth__form">
        <div className="auth__brand">
          {logo}
          <span>{instance.data?.name || texts.product}</span>
        </div>
        <h1>{registering ? texts.auth.create : texts.auth.welcomeBack}</h1>
        <p className="auth__hint">{closed ? texts.auth.closed : hint}</p>
        <form key={mode} onSubmit={(event) => void submit(event)} noValidate>
          <Field
            label={texts.auth.username}
            name="username"
            autoComplete="username"
            autoCapitalize="none"
            autoCorrect="off"
            spellCheck={false}
            autoFocus
            required
            maxLength={64}
            hint={registering ? texts.auth.usernameHint : ''}
            error={errors.username}
          />
          {registering ? (
            <Field
              label={texts.auth.displayName}
              name="display_name"
              autoComplete="name"
              maxLength={64}
              error={errors.displayName}
            />
          ) : null}
          <PasswordField
            label={texts.auth.password}
            name="password"
            autoComplete={registering ? 'new-password' : 'current-password'}
            required
            maxLength={256}
            hint={registering ? texts.auth.passwordHint : ''}
            error={errors.password}
          />
          {registering && instance.data?.registration === 'invite' && !first ? (
            <Field
              label={texts.auth.invite}
              name="invite"
              autoComplete="off"
              error={errors.invite}
            />
          ) : null}
          <div className="auth__notice">
            {errors.form || ended ? (
              <p className="notice" role="alert">
                {errors.form ?? ended}
              </p>
            ) : null}
          </div>
          <Button type="submit" variant="primary" wide busy={busy} disabled={closed}>
            {registering ? texts.auth.register : texts.auth.login}
          </Button>
        </form>
        <p className="auth__other">
          {registering ? texts.auth.hasAccount : texts.auth.noAccount}{' '}
          <a
            href={other}
            onClick={(event) => {
              leave();
              onLink(event, other);
            }}
          >
            {registering ? texts.auth.login : texts.auth.create}
          </a>
        </p>
      </main>
      <AuthArt />
    </div>
  );
}

function explainAuth(failure: unknown): AuthErrors {
  if (!(failure instanceof ApiError)) return { form: texts.somethingWrong };
  if (failure.code === 'bad_credentials') return { form: texts.auth.badCredentials };
  if (failure.code === 'username_taken') return { username: texts.auth.taken };
  const { username, password, display_name, invite } = failure.fields;
  if (failure.code === 'invalid_fields' && (username || password || display_name || invite)) {
    return {
      ...(username
        ? { username: username === 'taken' ? texts.auth.taken : texts.auth.nameBad }
        : {}),
      ...(password ? { password: texts.auth.tooShort } : {}),
      ...(display_name ? { displayName: texts.somethingWrong } : {}),
      ...(invite ? { invite: texts.errors.registration_closed ?? '' } : {}),
    };
  }
  return { form: explain(failure) };
}
