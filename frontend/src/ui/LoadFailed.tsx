import { texts } from '../lib/texts';
import { Button } from './Button';

/** Where something could not be loaded: why, and a way to try again. */
export function LoadFailed({ text, onRetry }: { text: string; onRetry: () => void }) {
  return (
    <div className="load-failed" role="alert">
      <p>{text}</p>
      <Button small onClick={onRetry}>
        {texts.retry}
      </Button>
    </div>
  );
}
