import type { ReactNode } from 'react';
import { onLink } from '../lib/router';

type Props = {
  to: string;
  label: string;
  short?: string;
  current: boolean;
  icon: ReactNode;
  children?: ReactNode;
};

export function RailLink({ to, label, short, current, icon, children }: Props) {
  return (
    <a
      className="rail__link"
      href={to}
      title={label}
      aria-current={current ? 'page' : undefined}
      onClick={(event) => onLink(event, to)}
    >
      {icon}
      <span className="rail__text" aria-hidden>
        {short ?? label}
      </span>
      <span className="visually-hidden">{label}</span>
      {children}
    </a>
  );
}
