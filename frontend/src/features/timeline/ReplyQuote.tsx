import type { CSSProperties } from 'react';
import type { Quote } from '../../api/types';
import { plainText } from '../../lib/markup';
import { useName } from '../../lib/names';
import { texts } from '../../lib/texts';
import { colourOf } from '../../ui/Avatar';

type Props = { quote: Quote; me: string; onJump: (seq: number) => void };

export function ReplyQuote({ quote, me, onJump }: Props) {
  const name = useName(quote.from || null);
  return (
    <button
      type="button"
      className="quote-ref"
      style={quote.from ? ({ '--quote': colourOf(quote.from) } as CSSProperties) : undefined}
      onClick={() => onJump(quote.seq)}
    >
      <b className="ellipsis">{quote.from === me ? texts.you : name || '…'}</b>
      <span className="ellipsis">
        {quote.deleted ? texts.timeline.deleted : plainText(quote.text) || texts.timeline.replyGone}
      </span>
    </button>
  );
}
