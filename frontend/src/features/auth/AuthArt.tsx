import { CheckCheck } from 'lucide-react';
import { texts } from '../../lib/texts';

/** A glimpse of the product beside the form on wide screens. */
export function AuthArt() {
  return (
    <div className="auth__art" aria-hidden>
      <div className="art">
        {texts.auth.art.map((line, index) => (
          <span key={line}>
            {line}
            {index % 2 === 1 ? <CheckCheck size={16} /> : null}
          </span>
        ))}
      </div>
      <p>{texts.auth.tagline}</p>
    </div>
  );
}
