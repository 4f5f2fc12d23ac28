import { texts } from '../lib/texts';
import { Button } from '../ui/Button';
import { Logo } from './Logo';

/** The page while the server does not say who one is. It is asked again all the time. */
export function Unreachable({ onRetry }: { onRetry: () => void }) {
  return (
    <main className="splash">
      <div className="empty" role="status">
        <Logo size={64} />
        <h1>{texts.offlineError}</h1>
        <p>{texts.unreachableText}</p>
        <Button onClick={onRetry}>{texts.retry}</Button>
      </div>
    </main>
  );
}
