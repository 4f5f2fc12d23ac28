import { MessagesSquare } from 'lucide-react';
import { useChat } from '../lib/chat';
import { homePath, navigate } from '../lib/router';
import { texts } from '../lib/texts';
import { useStore } from '../lib/useStore';
import { Button } from '../ui/Button';
import { EmptyState } from '../ui/EmptyState';

export function NothingSelected() {
  const { phase, list } = useStore(useChat().conversations);
  if (phase === 'ready' && !list.some((conversation) => !conversation.hidden)) {
    // The list beside it says what to do.
    return (
      <div className="main__center">
        <EmptyState
          icon={<MessagesSquare size={28} />}
          title={texts.list.firstTitle}
          text={texts.list.firstText}
        />
      </div>
    );
  }
  return (
    <div className="main__center">
      <EmptyState
        icon={<MessagesSquare size={28} />}
        title={texts.list.selectTitle}
        text={texts.list.selectText}
      >
        <Button variant="primary" onClick={() => navigate(homePath('people'))}>
          {texts.list.findPeople}
        </Button>
      </EmptyState>
    </div>
  );
}
