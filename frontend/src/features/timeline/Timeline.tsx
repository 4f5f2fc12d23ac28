import { ArrowDown, ArrowUp } from 'lucide-react';
import { type KeyboardEvent, useCallback, useMemo } from 'react';
import { texts } from '../../lib/texts';
import type { TimelineHandle, TimelineView } from '../../realtime';
import { Badge } from '../../ui/Badge';
import { Announcer } from './Announcer';
import type { MessageActions, Viewer } from './actions';
import { buildRows, estimateRow } from './rows';
import { TimelineRow } from './TimelineRow';
import { useCounting } from './useCounting';
import { useReading } from './useReading';
import { useWindow } from './useWindow';
import './timeline.css';

type Props = {
  conversation: string;
  title: string;
  handle: TimelineHandle;
  view: TimelineView;
  viewer: Viewer;
  actions: MessageActions;
  /** The read cursor when the conversation was opened; null = nothing was unread. */
  unreadAfter: number | null;
  /** Scroll to this message and let it flash. */
  target: { seq: number; turn: number } | null;
};

export function Timeline(props: Props) {
  const { conversation, title, handle, view, viewer, actions, unreadAfter, target } = props;
  const rows = useMemo(
    () => buildRows(view, unreadAfter, viewer.me),
    [view, unreadAfter, viewer.me],
  );
  const keys = useMemo(() => rows.map((row) => row.key), [rows]);
  const list = useWindow({
    keys,
    estimate: useCallback((index: number) => estimateRow(rows[index]), [rows]),
    followEnd: !view.moreAfter,
    onNearStart: () => {
      if (view.moreBefore && !view.loadingBefore) void handle.loadOlder();
    },
    onNearEnd: () => {
      if (view.moreAfter && !view.loadingAfter) void handle.loadNewer();
    },
  });
  const reading = useReading({
    conversation,
    handle,
    rows,
    list,
    view,
    unreadAfter,
    target,
    me: viewer.me,
  });
  const drawn = rows.slice(list.start, list.end);
  useCounting(conversation, drawn, viewer.me);

  const moveFocus = (event: KeyboardEvent<HTMLDivElement>) => {
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
    const messages = [...event.currentTarget.querySelectorAll<HTMLElement>('[data-message]')];
    const at = messages.findIndex((one) => one.matches(':focus'));
    const next = at < 0 ? messages.length - 1 : at + (event.key === 'ArrowUp' ? -1 : 1);
    const message = messages[next];
    if (!message) return;
    event.preventDefault();
    message.focus();
  };
  const toEnd = () => {
    if (view.moreAfter) void handle.jumpToNewest().then(list.scrollToEnd);
    else list.scrollToEnd();
  };

  return (
    <div className="timeline-wrap">
      <div
        ref={list.scroller}
        className="timeline"
        role="log"
        aria-live="off"
        aria-label={texts.timeline.label(title)}
        aria-busy={view.phase === 'loading'}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scroll area has to be reachable by keyboard
        tabIndex={0}
        onScroll={() => {
          list.onScroll();
          reading.onScroll();
        }}
        onKeyDown={moveFocus}
      >
        <div className="timeline__inner">
          <div style={{ height: list.before }} />
          {drawn.map((row) => (
            <TimelineRow
              key={row.key}
              row={row}
              viewer={viewer}
              actions={actions}
              focused={row.key === reading.flash}
              measure={list.measure}
            />
          ))}
          <div style={{ height: list.after }} />
        </div>
      </div>
      {reading.unreadAbove ? (
        <button type="button" className="to-unread" onClick={() => void reading.toUnread()}>
          <ArrowUp size={16} aria-hidden />
          {texts.timeline.toUnread}
        </button>
      ) : null}
      {reading.away ? (
        <button
          type="button"
          className="to-end"
          aria-label={
            reading.below > 0 ? texts.timeline.newBelow(reading.below) : texts.timeline.toBottom
          }
          onClick={toEnd}
        >
          {reading.below > 0 ? <Badge count={reading.below} label="" /> : null}
          <ArrowDown size={20} aria-hidden />
        </button>
      ) : null}
      <Announcer view={view} me={viewer.me} />
    </div>
  );
}
