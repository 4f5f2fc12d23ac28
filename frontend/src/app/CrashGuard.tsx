import { Component, type ReactNode } from 'react';
import { texts } from '../lib/texts';
import { Button } from '../ui/Button';
import { Logo } from './Logo';

type Props = { children: ReactNode };

/** Instead of an empty page when a part of it throws. What was written is in the storage, not in the page. */
export class CrashGuard extends Component<Props, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <main className="splash">
        <div className="empty" role="alert">
          <Logo size={64} />
          <h1>{texts.crashed}</h1>
          <p>{texts.crashedText}</p>
          <Button onClick={() => location.reload()}>{texts.connection.reload}</Button>
        </div>
      </main>
    );
  }
}
