import { explain } from '../lib/names';
import { texts } from '../lib/texts';
import { Confirm } from '../ui/Confirm';

type Props = { onConfirm: () => Promise<void>; onClose: () => void };

export function DeleteDialog({ onConfirm, onClose }: Props) {
  return (
    <Confirm
      title={texts.timeline.deleteTitle}
      text={texts.timeline.deleteText}
      action={texts.timeline.delete}
      explain={explain}
      onConfirm={onConfirm}
      onClose={onClose}
    />
  );
}
