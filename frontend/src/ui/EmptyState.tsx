import type { ReactNode } from 'react';

type Props = {
  icon: ReactNode;
  title: string;
  text: string;
  /** It is the whole page, so its title is the page's heading. */
  page?: boolean;
  children?: ReactNode;
};

export function EmptyState({ icon, title, text, page, children }: Props) {
  return (
    <div className="empty">
      <span className="empty__icon" aria-hidden>
        {icon}
      </span>
      {page ? <h1>{title}</h1> : <h2>{title}</h2>}
      <p>{text}</p>
      {children ? <div className="empty__actions">{children}</div> : null}
    </div>
  );
}
