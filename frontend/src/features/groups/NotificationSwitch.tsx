import type { Conversation } from '../../api/types';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import { texts } from '../../lib/texts';
import { Switch } from '../../ui/Switch';
import { toast } from '../../ui/Toasts';

export function NotificationSwitch({ conversation }: { conversation: Conversation }) {
  const chat = useChat();
  const set = (muted: boolean) =>
    void chat
      .patchMine(conversation.id, { muted })
      .catch((failure: unknown) => toast(explain(failure)));
  return (
    <div className="details__block">
      <Switch label={texts.list.mute} checked={conversation.muted} onChange={set} />
    </div>
  );
}
