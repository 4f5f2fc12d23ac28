import { type InputHTMLAttributes, type ReactNode, useId } from 'react';

type Props = InputHTMLAttributes<HTMLInputElement> & {
  label: string;
  hint?: string;
  error?: string | undefined;
  trailing?: ReactNode;
};

/** A labelled input whose line for hint or error is reserved, so that an error moves nothing. */
export function Field({ label, hint, error, trailing, ...input }: Props) {
  const id = useId();
  const note = error || hint;
  return (
    <div className="field">
      <label className="field__label" htmlFor={id}>
        {label}
      </label>
      <div className={error ? 'field__box field__box--bad' : 'field__box'}>
        <input
          {...input}
          id={id}
          aria-invalid={error ? true : undefined}
          aria-describedby={note ? `${id}-note` : undefined}
        />
        {trailing}
      </div>
      <p
        id={`${id}-note`}
        className={error ? 'field__error' : 'field__hint'}
        role={error ? 'alert' : undefined}
      >
        {note}
      </p>
    </div>
  );
}
