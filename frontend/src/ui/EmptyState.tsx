import type { ReactNode } from 'react';

type Props = { icon: ReactNode; title: string; text: string; children?: ReactNode };

export function EmptyState({ icon, title, text, children }: Props) {
  return (
    <div className="empty">
      <span className="empty__icon" aria-hidden>
        {icon}
      </span>
      <h2>{title}</h2>
      <p>{text}</p>
      {children ? <div className="empty__actions">{children}</div> : null}
    </div>
  );
}
