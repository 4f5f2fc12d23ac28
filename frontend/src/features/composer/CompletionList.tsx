import { texts } from '../../lib/texts';
import { Avatar } from '../../ui/Avatar';
import type { Choice } from './completion';

type Props = {
  id: string;
  choices: readonly Choice[];
  active: number;
  onPick: (choice: Choice) => void;
};

export function CompletionList({ id, choices, active, onPick }: Props) {
  return (
    <div id={id} className="complete" role="listbox" aria-label={texts.composer.mentions}>
      {choices.map((choice, index) => (
        <div
          key={choice.key}
          id={`${id}-${index}`}
          role="option"
          tabIndex={-1}
          aria-selected={index === active}
          onPointerDown={(event) => {
            event.preventDefault();
            onPick(choice);
          }}
        >
          {choice.person ? (
            <Avatar id={choice.person.id} name={choice.label} size={28} />
          ) : (
            <span aria-hidden>{choice.label}</span>
          )}
          <span className="ellipsis">
            {choice.person ? `${choice.label} ` : ''}
            <small>{choice.hint}</small>
          </span>
        </div>
      ))}
    </div>
  );
}
