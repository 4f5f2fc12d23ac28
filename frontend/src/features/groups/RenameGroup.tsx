import { useState } from 'react';
import { usePatchConversation } from '../../api/queries/conversations';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Dialog } from '../../ui/Dialog';
import { Field } from '../../ui/Field';

type Props = { conversation: string; title: string; onClose: () => void };
const TITLE_MAX = 80;

export function RenameGroup({ conversation, title, onClose }: Props) {
  const patch = usePatchConversation(conversation);
  const [value, setValue] = useState(title);
  const save = () => patch.mutate({ title: value.trim() }, { onSuccess: onClose });
  return (
    <Dialog
      title={texts.group.rename}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button
            variant="primary"
            busy={patch.isPending}
            disabled={value.trim() === ''}
            onClick={save}
          >
            {texts.save}
          </Button>
        </>
      }
    >
      <Field
        label={texts.group.name}
        value={value}
        maxLength={TITLE_MAX}
        autoFocus
        error={patch.isError ? explain(patch.error) : undefined}
        onChange={(event) => setValue(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && value.trim()) save();
        }}
      />
    </Dialog>
  );
}
