import { ChevronLeft } from 'lucide-react';
import { type MouseEvent, type ReactNode, useLayoutEffect, useRef } from 'react';
import { IconButton } from './IconButton';
import './pages.css';

export type Section = { id: string; label: string; icon: ReactNode };
type Props = {
  title: string;
  back: string;
  onBack: () => void;
  base: string;
  sections: readonly Section[];
  current: string;
  onLink: (event: MouseEvent, to: string) => void;
  children: ReactNode;
};

export function SectionsPage(props: Props) {
  const { title, back, onBack, base, sections, current, onLink, children } = props;
  const nav = useRef<HTMLElement>(null);
  // On a phone the sections are one line that scrolls: the open one is in sight.
  useLayoutEffect(() => {
    const link = current ? nav.current?.querySelector<HTMLElement>('[aria-current]') : null;
    if (nav.current && link) nav.current.scrollLeft = link.offsetLeft - 48;
  }, [current]);
  return (
    <div className="page-scroll">
      <div className="sections">
        <header className="sections__title">
          <IconButton className="only-narrow" label={back} onClick={onBack}>
            <ChevronLeft size={24} aria-hidden />
          </IconButton>
          <h1>{title}</h1>
        </header>
        <nav ref={nav} aria-label={title}>
          {sections.map(({ id, label, icon }) => (
            <a
              key={id}
              href={`${base}/${id}`}
              aria-current={id === current ? 'page' : undefined}
              onClick={(event) => onLink(event, `${base}/${id}`)}
            >
              {icon}
              {label}
            </a>
          ))}
        </nav>
        {children}
      </div>
    </div>
  );
}
