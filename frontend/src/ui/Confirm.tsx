import { useState } from 'react';
import { texts } from '../lib/texts';
import { Button } from './Button';
import { Dialog } from './Dialog';

type Props = {
  title: string;
  text: string;
  action: string;
  explain: (failure: unknown) => string;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
};

export function Confirm({ title, text, action, explain, onConfirm, onClose }: Props) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const confirm = async () => {
    setBusy(true);
    try {
      await onConfirm();
      onClose();
    } catch (failure) {
      setError(explain(failure));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button variant="danger" busy={busy} onClick={() => void confirm()}>
            {action}
          </Button>
        </>
      }
    >
      <p>{text}</p>
      {error ? (
        <p className="field__error" role="alert">
          {error}
        </p>
      ) : null}
    </Dialog>
  );
}
