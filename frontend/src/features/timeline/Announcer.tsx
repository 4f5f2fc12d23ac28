import { useRef } from 'react';
import { plainText } from '../../lib/markup';
import { useName } from '../../lib/names';
import type { TimelineView } from '../../realtime';

/** Reads new messages of others to screen readers; the list itself is silent, since scrolling changes it. */
export function Announcer({ view, me }: { view: TimelineView; me: string }) {
  const last = view.entries.findLast((entry) => entry.kind === 'message');
  const seen = useRef<number | null>(null);
  if (seen.current === null && view.phase === 'ready') seen.current = last?.seq ?? 0;
  const fresh =
    last && seen.current !== null && last.seq > seen.current && last.from !== me && !last.deleted
      ? last
      : null;
  const name = useName(fresh?.from ?? null);
  return (
    <div className="visually-hidden" role="status" aria-live="polite">
      {fresh ? `${name}: ${plainText(fresh.text)}` : ''}
    </div>
  );
}
