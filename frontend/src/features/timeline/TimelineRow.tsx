import { memo } from 'react';
import { texts } from '../../lib/texts';
import { dayName } from '../../lib/time';
import type { MessageActions, Viewer } from './actions';
import { Message } from './Message';
import type { Row } from './rows';
import { SystemLine } from './SystemLine';
import { TimelineSkeleton } from './TimelineSkeleton';

type Props = {
  row: Row;
  viewer: Viewer;
  actions: MessageActions;
  focused: boolean;
  measure: (key: string, element: HTMLElement | null) => void;
};

export const TimelineRow = memo(function TimelineRow({
  row,
  viewer,
  actions,
  focused,
  measure,
}: Props) {
  const { key } = row;
  return (
    <div
      ref={(element) => {
        measure(key, element);
        return () => measure(key, null);
      }}
    >
      {content(row, viewer, actions, focused)}
    </div>
  );
});

function content(row: Row, viewer: Viewer, actions: MessageActions, focused: boolean) {
  switch (row.kind) {
    case 'start':
      return <p className="timeline__start visually-hidden">{texts.timeline.start}</p>;
    case 'loading':
      return <TimelineSkeleton rows={3} />;
    case 'day':
      return (
        <div className="day">
          <button
            type="button"
            title={texts.timeline.jumpToDate}
            onClick={() => actions.onDay(row.ts)}
          >
            {dayName(row.ts, Date.now())}
          </button>
        </div>
      );
    case 'unread':
      return <div className="unread-line">{texts.timeline.unread}</div>;
    case 'system':
      return <SystemLine entry={row.entry} me={viewer.me} direct={viewer.direct} />;
    case 'message':
      return (
        <Message
          entry={row.entry}
          first={row.first}
          last={row.last}
          focused={focused}
          viewer={viewer}
          actions={actions}
        />
      );
  }
}
