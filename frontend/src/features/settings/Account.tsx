import { Download, Trash2 } from 'lucide-react';
import { useState } from 'react';
import type { Me } from '../../api/types';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { DeleteAccount } from './DeleteAccount';
import { PasswordForm } from './PasswordForm';

export function Account({ me }: { me: Me }) {
  const [deleting, setDeleting] = useState(false);
  return (
    <>
      <PasswordForm username={me.username} />
      <div className="card">
        <div className="card__line">
          <span className="card__text">
            {texts.settings.export}
            <small>{texts.settings.exportHint}</small>
          </span>
          <a className="btn btn--small" href="/api/me/export" download="webchat-export.json">
            <Download size={17} aria-hidden />
            {texts.settings.exportAction}
          </a>
        </div>
        <div className="card__line">
          <span className="card__text">
            {texts.settings.delete}
            <small>{texts.settings.deleteHint}</small>
          </span>
          <Button small variant="danger" onClick={() => setDeleting(true)}>
            <Trash2 size={17} aria-hidden />
            {texts.settings.deleteAction}
          </Button>
        </div>
      </div>
      {deleting ? <DeleteAccount onClose={() => setDeleting(false)} /> : null}
    </>
  );
}
