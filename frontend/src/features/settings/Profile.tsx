import { type FormEvent, useState } from 'react';
import { usePatchMe } from '../../api/queries/me';
import type { Me } from '../../api/types';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Avatar } from '../../ui/Avatar';
import { Button } from '../../ui/Button';
import { Field } from '../../ui/Field';
import { toast } from '../../ui/Toasts';
import { LogoutButton } from './LogoutButton';

const NAME_MAX = 64;
const ABOUT_MAX = 200;

export function Profile({ me }: { me: Me }) {
  const patch = usePatchMe();
  const [name, setName] = useState(me.display_name);
  const [about, setAbout] = useState(me.about);
  const changed = name.trim() !== me.display_name || about.trim() !== me.about;
  const save = (event: FormEvent) => {
    event.preventDefault();
    patch.mutate(
      { display_name: name.trim(), about: about.trim() },
      { onSuccess: () => toast(texts.saved) },
    );
  };
  return (
    <>
      <div className="card">
        <div className="card__line">
          <Avatar id={me.id} name={nameOf(me)} size={64} />
          <span className="card__text">
            <strong>{nameOf(me)}</strong>
            <small>@{me.username}</small>
          </span>
        </div>
      </div>
      <form className="card" onSubmit={save}>
        <Field
          label={texts.settings.displayName}
          value={name}
          maxLength={NAME_MAX}
          autoComplete="name"
          onChange={(event) => setName(event.target.value)}
        />
        <Field
          label={texts.settings.about}
          value={about}
          maxLength={ABOUT_MAX}
          autoComplete="off"
          error={patch.isError ? explain(patch.error) : undefined}
          onChange={(event) => setAbout(event.target.value)}
        />
        <Button type="submit" variant="primary" busy={patch.isPending} disabled={!changed}>
          {texts.save}
        </Button>
      </form>
      <LogoutButton />
    </>
  );
}
