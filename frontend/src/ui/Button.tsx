import { LoaderCircle } from 'lucide-react';
import type { ButtonHTMLAttributes, ReactNode } from 'react';

type Props = ButtonHTMLAttributes<HTMLButtonElement> & {
  variant?: 'plain' | 'primary' | 'danger' | 'quiet';
  small?: boolean;
  wide?: boolean;
  /** Shows that work is under way and swallows clicks, keeping focus where it is. */
  busy?: boolean;
  children: ReactNode;
};

export function Button({
  variant = 'plain',
  small,
  wide,
  busy,
  className,
  children,
  onClick,
  type = 'button',
  ...rest
}: Props) {
  const classes = [
    'btn',
    `btn--${variant}`,
    small ? 'btn--small' : '',
    wide ? 'btn--wide' : '',
    className ?? '',
  ];
  return (
    <button
      {...rest}
      type={type}
      className={classes.filter(Boolean).join(' ')}
      aria-disabled={busy || undefined}
      onClick={(event) => {
        if (busy) event.preventDefault();
        else onClick?.(event);
      }}
    >
      {busy ? <LoaderCircle size={17} className="spin" aria-hidden /> : null}
      {children}
    </button>
  );
}
