import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react';

type Props = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'aria-label'> & {
  /** What it does: the accessible name and the hint on hover. */
  label: string;
  accent?: boolean;
  ref?: Ref<HTMLButtonElement>;
  children: ReactNode;
};

export function IconButton({
  label,
  accent,
  className,
  children,
  type = 'button',
  ref,
  ...rest
}: Props) {
  const classes = ['icon-btn', accent ? 'icon-btn--accent' : '', className ?? '']
    .filter(Boolean)
    .join(' ');
  return (
    <button {...rest} ref={ref} type={type} className={classes} aria-label={label} title={label}>
      {children}
    </button>
  );
}
