import { Check, CheckCheck, CircleAlert, Clock } from 'lucide-react';
import { texts } from '../../lib/texts';
import type { OwnStatus } from '../../realtime';

/** Clock → one tick (durable) → two (delivered) → coloured (read), or failed. */
export function Ticks({ status }: { status: OwnStatus }) {
  switch (status.state) {
    case 'sending':
      return (
        <span className="tick" role="img" aria-label={texts.timeline.sending}>
          <Clock size={12} />
        </span>
      );
    case 'sent':
      return (
        <span className="tick" role="img" aria-label={texts.timeline.sent}>
          <Check size={15} />
        </span>
      );
    case 'delivered':
      return (
        <span className="tick" role="img" aria-label={texts.timeline.delivered}>
          <CheckCheck size={16} />
        </span>
      );
    case 'read':
      return (
        <span className="tick tick--read" role="img" aria-label={texts.timeline.read}>
          <CheckCheck size={16} />
        </span>
      );
    case 'failed':
      return (
        <span className="tick tick--failed" role="img" aria-label={texts.timeline.failed}>
          <CircleAlert size={14} />
        </span>
      );
  }
}
