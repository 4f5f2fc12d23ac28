import { Copy } from 'lucide-react';
import { useRef } from 'react';
import { texts } from '../../lib/texts';
import { copy } from '../../ui/copy';
import { useOverflow } from './useOverflow';

type Props = { language: string; text: string };

export function CodeBlock({ language, text }: Props) {
  const lines = useRef<HTMLPreElement>(null);
  const hidden = useOverflow(lines);
  return (
    <div
      className="code-block"
      dir="ltr"
      data-before={hidden.before || undefined}
      data-after={hidden.after || undefined}
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also by keyboard */}
      <pre ref={lines} tabIndex={0} role="group" aria-label={language || texts.timeline.code}>
        <code>{text}</code>
      </pre>
      <button
        type="button"
        className="code-block__copy"
        aria-label={texts.timeline.copyCode}
        title={texts.timeline.copyCode}
        onClick={() => void copy(text)}
      >
        <Copy size={15} aria-hidden />
      </button>
    </div>
  );
}
