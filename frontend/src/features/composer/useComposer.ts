import {
  type ChangeEvent,
  type KeyboardEvent,
  useCallback,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from 'react';
import {
  type Choice,
  type Completion,
  completionAt,
  insertAt,
  type Person,
  replaceShortcode,
} from './completion';
import { MARKS, toggleMark } from './format';

export const TEXT_BYTES_MAX = 16_384;
const encoder = new TextEncoder();

type Options = {
  /** Changes when another text shall be in the field: another conversation, another message to edit. */
  textKey: string;
  /** Changes when the field shall take the focus. */
  focusKey: string;
  initial: string;
  people: readonly Person[];
  onText: (text: string) => void;
  onSend: (text: string) => void;
  onCancel: () => boolean;
  onEditLast: () => boolean;
};

/** The field's text, its size, and what the keys do. */
export function useComposer({
  textKey,
  focusKey,
  initial,
  people,
  onText,
  onSend,
  onCancel,
  onEditLast,
}: Options) {
  const field = useRef<HTMLTextAreaElement>(null);
  const caret = useRef<readonly [number, number] | null>(null);
  const [text, setText] = useState(initial);
  const [completion, setCompletion] = useState<Completion | null>(null);
  const [active, setActive] = useState(0);
  const [shownKey, setShownKey] = useState(textKey);
  if (shownKey !== textKey) {
    setShownKey(textKey);
    setText(initial);
    setCompletion(null);
  }

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new text is what changes the height
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
    if (caret.current !== null) element.setSelectionRange(...caret.current);
    caret.current = null;
  }, [text]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the keys say when to take the focus
  useEffect(() => {
    const element = field.current;
    if (!element || matchMedia('(pointer: coarse)').matches) return;
    element.focus({ preventScroll: true });
    element.setSelectionRange(element.value.length, element.value.length);
  }, [textKey, focusKey]);

  const change = useCallback(
    (value: string, at: number) => {
      setText(value);
      onText(value);
      setCompletion(completionAt(value, at, people));
      setActive(0);
    },
    [onText, people],
  );

  const put = (from: number, to: number, insert: string) => {
    const next = insertAt(text, from, to, insert);
    caret.current = [next.caret, next.caret];
    change(next.text, next.caret);
    field.current?.focus();
  };

  const bytes = encoder.encode(text.trim()).length;
  const send = () => {
    const value = text.trim();
    if (!value || bytes > TEXT_BYTES_MAX) return;
    onSend(value);
    setText('');
    setCompletion(null);
    field.current?.focus();
  };

  const format = (mark: string) => {
    const element = field.current;
    if (!element) return;
    const { selectionStart: start, selectionEnd: end } = element;
    const next = toggleMark({ text, start, end }, mark);
    caret.current = [next.start, next.end];
    change(next.text, next.end);
  };

  const pick = (choice: Choice) => {
    if (completion) put(completion.from, completion.to, choice.insert);
  };

  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.nativeEvent.isComposing) return;
    const count = completion?.choices.length ?? 0;
    const choice = completion?.choices[active];
    const mark = event.ctrlKey || event.metaKey ? MARKS[event.key.toLowerCase()] : undefined;
    let handled = true;
    if (mark !== undefined && !event.shiftKey && !event.altKey) format(mark);
    else if (choice && (event.key === 'Enter' || event.key === 'Tab')) pick(choice);
    else if (choice && event.key === 'ArrowDown') setActive((active + 1) % count);
    else if (choice && event.key === 'ArrowUp') setActive((active - 1 + count) % count);
    else if (choice && event.key === 'Escape') setCompletion(null);
    else if (event.key === 'Enter' && !event.shiftKey) send();
    else if (event.key === 'Escape') handled = onCancel();
    else if (event.key === 'ArrowUp' && text === '') handled = onEditLast();
    else handled = false;
    if (handled) {
      event.preventDefault();
      event.stopPropagation();
    }
  };

  const onChange = (event: ChangeEvent<HTMLTextAreaElement>) => {
    const { value, selectionStart } = event.target;
    const replaced = replaceShortcode(value, selectionStart);
    if (replaced) caret.current = [replaced.caret, replaced.caret];
    change(replaced?.text ?? value, replaced?.caret ?? selectionStart);
  };

  const insert = (value: string) => {
    const element = field.current;
    put(element?.selectionStart ?? text.length, element?.selectionEnd ?? text.length, value);
  };

  return {
    field,
    text,
    tooLong: Math.max(0, bytes - TEXT_BYTES_MAX),
    completion,
    active,
    onChange,
    onKeyDown,
    pick,
    send,
    insert,
    closeCompletion: () => setCompletion(null),
  };
}
