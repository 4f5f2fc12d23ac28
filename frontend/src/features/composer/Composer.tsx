import { ArrowUp, Check, Smile } from 'lucide-react';
import { useId, useState } from 'react';
import { texts } from '../../lib/texts';
import { IconButton } from '../../ui/IconButton';
import { Lazy, Part } from '../../ui/Lazy';
import { CompletionList } from './CompletionList';
import { ComposerMode } from './ComposerMode';
import type { Person } from './completion';
import { useComposer } from './useComposer';
import './composer.css';

const EmojiPicker = new Part(() => import('../../ui/EmojiPicker'));

export type Mode =
  | { kind: 'new' }
  | { kind: 'reply'; name: string; text: string }
  | { kind: 'edit'; text: string };

type Props = {
  title: string;
  textKey: string;
  focusKey: string;
  initial: string;
  mode: Mode;
  people: readonly Person[];
  onText: (text: string) => void;
  onSend: (text: string) => void;
  onCancel: () => boolean;
  onEditLast: () => boolean;
};

export function Composer({ title, mode, ...options }: Props) {
  const composer = useComposer(options);
  const [picking, setPicking] = useState(false);
  const listId = useId();
  const { completion, active } = composer;
  return (
    <div className="composer">
      {completion ? (
        <CompletionList
          id={listId}
          choices={completion.choices}
          active={active}
          onPick={composer.pick}
        />
      ) : null}
      {picking ? (
        <Lazy
          part={EmojiPicker}
          props={{
            onPick: (emoji) => {
              composer.insert(emoji);
              setPicking(false);
            },
            onClose: () => setPicking(false),
          }}
        />
      ) : null}
      <div className="composer__box">
        {mode.kind === 'reply' ? (
          <ComposerMode
            title={texts.composer.replyingTo(mode.name)}
            text={mode.text}
            cancel={texts.composer.cancelReply}
            onCancel={options.onCancel}
          />
        ) : null}
        {mode.kind === 'edit' ? (
          <ComposerMode
            title={texts.composer.editing}
            text={mode.text}
            cancel={texts.composer.cancelEdit}
            onCancel={options.onCancel}
          />
        ) : null}
        <div className="composer__row">
          <IconButton
            label={texts.composer.emoji}
            aria-expanded={picking}
            onClick={() => setPicking(!picking)}
          >
            <Smile size={21} aria-hidden />
          </IconButton>
          <textarea
            ref={composer.field}
            rows={1}
            value={composer.text}
            dir="auto"
            placeholder={texts.composer.placeholder}
            aria-label={texts.composer.label(title)}
            aria-autocomplete="list"
            aria-controls={completion ? listId : undefined}
            aria-activedescendant={completion ? `${listId}-${active}` : undefined}
            enterKeyHint="send"
            onChange={composer.onChange}
            onKeyDown={composer.onKeyDown}
            onBlur={composer.closeCompletion}
          />
          <IconButton
            accent
            label={mode.kind === 'edit' ? texts.composer.saveEdit : texts.composer.send}
            disabled={composer.text.trim() === ''}
            onClick={composer.send}
          >
            {mode.kind === 'edit' ? (
              <Check size={20} aria-hidden />
            ) : (
              <ArrowUp size={20} aria-hidden />
            )}
          </IconButton>
        </div>
        {composer.tooLong > 0 ? (
          <p className="composer__note" role="alert">
            {texts.composer.tooLong(composer.tooLong)}
          </p>
        ) : null}
      </div>
    </div>
  );
}
