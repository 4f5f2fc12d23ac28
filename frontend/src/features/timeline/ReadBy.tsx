import { useChat } from '../../lib/chat';
import { texts } from '../../lib/texts';
import { useStore } from '../../lib/useStore';
import { readersOf } from '../../realtime';
import { ReaderName } from './ReaderName';

type Props = { conversation: string; seq: number };

/** Who of the others has read an own message of a group; of a large one, where nobody is named, how many. */
export function ReadBy({ conversation, seq }: Props) {
  const chat = useChat();
  const receipts = useStore(chat.receipts(conversation));
  const counts = useStore(chat.counts(conversation));
  const counted = readersOf(counts, seq);
  if (receipts.size === 0) {
    if (counted === null) return null;
    return (
      <div className="read-by" role="group">
        {texts.timeline.readBy(counted, counts.of)}
      </div>
    );
  }
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
