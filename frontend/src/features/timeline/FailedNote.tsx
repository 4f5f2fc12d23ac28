import { texts } from '../../lib/texts';
import type { MessageActions } from './actions';

type Props = { id: string; code: string; actions: MessageActions };

export function FailedNote({ id, code, actions }: Props) {
  return (
    <div className="msg__failed" role="alert">
      {texts.timeline.failed} {texts.errors[code] ?? ''}
      <button type="button" onClick={() => actions.onRetry(id)}>
        {texts.timeline.resend}
      </button>
      <button type="button" onClick={() => actions.onDiscard(id)}>
        {texts.timeline.discard}
      </button>
    </div>
  );
}
