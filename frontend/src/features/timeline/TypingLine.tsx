import { useChat } from '../../lib/chat';
import { useName } from '../../lib/names';
import { texts } from '../../lib/texts';
import { useStore } from '../../lib/useStore';

/** Keeps its place when nobody types, so that nothing jumps. */
export function TypingLine({ conversation }: { conversation: string }) {
  const typing = useStore(useChat().typing(conversation));
  const [first, second] = [useName(typing[0] ?? null), useName(typing[1] ?? null)];
  const text =
    typing.length === 0
      ? ''
      : typing.length === 1
        ? texts.typing.one(first)
        : typing.length === 2
          ? texts.typing.two(first, second)
          : texts.typing.many(first, typing.length - 1);
  return (
    <div className="typing ellipsis" role="status" aria-live="polite" data-testid="typing">
      {text ? (
        <>
          <span className="dots" aria-hidden>
            <i />
            <i />
            <i />
          </span>
          {text}
        </>
      ) : null}
    </div>
  );
}
