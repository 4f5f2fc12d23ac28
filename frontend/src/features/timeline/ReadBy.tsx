import { useChat } from '../../lib/chat';
import { texts } from '../../lib/texts';
import { useStore } from '../../lib/useStore';
import { ReaderName } from './ReaderName';

type Props = { conversation: string; seq: number };

/** Who of the others has read an own message of a group. Large groups have no cursors by name: nothing is shown. */
export function ReadBy({ conversation, seq }: Props) {
  const receipts = useStore(useChat().receipts(conversation));
  if (receipts.size === 0) return null;
  const readers = [...receipts].filter(([, cursor]) => cursor.read >= seq).map(([user]) => user);
  return (
    <div className="read-by" role="group">
      {texts.timeline.readBy(readers.length, receipts.size)}
      {readers.map((user) => (
        <ReaderName key={user} user={user} />
      ))}
    </div>
  );
}
