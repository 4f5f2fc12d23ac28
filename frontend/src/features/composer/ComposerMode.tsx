import { X } from 'lucide-react';
import { IconButton } from '../../ui/IconButton';

type Props = { title: string; text: string; cancel: string; onCancel: () => void };

/** The strip above the field while one replies or edits. */
export function ComposerMode({ title, text, cancel, onCancel }: Props) {
  return (
    <div className="composer__mode">
      <div>
        <b>{title}</b>
        <p className="ellipsis">{text}</p>
      </div>
      <IconButton label={cancel} onClick={onCancel}>
        <X size={18} aria-hidden />
      </IconButton>
    </div>
  );
}
