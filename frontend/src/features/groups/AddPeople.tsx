import { useMemo } from 'react';
import { useChangeMembers } from '../../api/queries/conversations';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Dialog } from '../../ui/Dialog';
import { PeoplePicker } from '../../ui/PeoplePicker';
import { toast } from '../../ui/Toasts';
import { usePicker } from './usePicker';

type Props = { conversation: string; without: readonly string[]; onClose: () => void };

export function AddPeople({ conversation, without, onClose }: Props) {
  const change = useChangeMembers(conversation);
  const picker = usePicker(useMemo(() => new Set(without), [without]));
  const add = () =>
    change.mutate(
      { do: 'add', users: picker.chosen.map((one) => one.id) },
      { onSuccess: onClose, onError: (failure) => toast(explain(failure)) },
    );
  return (
    <Dialog
      title={texts.group.add}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button
            variant="primary"
            busy={change.isPending}
            disabled={picker.chosen.length === 0}
            onClick={add}
          >
            {texts.group.add}
          </Button>
        </>
      }
    >
      <PeoplePicker label={texts.group.addHint} removeLabel={texts.group.remove} {...picker} />
    </Dialog>
  );
}
