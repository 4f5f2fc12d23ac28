import { MessagesSquare } from 'lucide-react';
import { homePath, navigate } from '../lib/router';
import { texts } from '../lib/texts';
import { Button } from '../ui/Button';
import { EmptyState } from '../ui/EmptyState';

export function NothingSelected() {
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
