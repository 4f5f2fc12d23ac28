import { useState } from 'react';
import { explain } from '../lib/names';
import { texts } from '../lib/texts';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { Field } from '../ui/Field';

type Props = { onReport: (reason: string) => Promise<void>; onClose: () => void };
const REASON_MAX = 500;

export function ReportDialog({ onReport, onClose }: Props) {
  const [reason, setReason] = useState('');
  const [error, setError] = useState('');
  const send = () =>
    void onReport(reason.trim()).then(onClose, (failure: unknown) => setError(explain(failure)));
  return (
    <Dialog
      title={texts.timeline.report}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button variant="primary" disabled={reason.trim() === ''} onClick={send}>
            {texts.timeline.report}
          </Button>
        </>
      }
    >
      <Field
        label={texts.timeline.reportReason}
        value={reason}
        maxLength={REASON_MAX}
        autoFocus
        error={error}
        onChange={(event) => setReason(event.target.value)}
      />
    </Dialog>
  );
}
