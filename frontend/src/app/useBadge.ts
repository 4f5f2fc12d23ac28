import { useEffect } from 'react';
import { useChat } from '../lib/chat';
import { texts } from '../lib/texts';
import { useStore } from '../lib/useStore';

const PLAIN = '/favicon.svg';

/** The number of unread messages in the tab's title and icon. */
export function useBadge(): void {
  const { total } = useStore(useChat().unread);
  useEffect(() => {
    document.title =
      total > 0 ? `(${total > 999 ? '999+' : total}) ${texts.product}` : texts.product;
    document
      .querySelector('link[rel=icon]')
      ?.setAttribute('href', total > 0 ? iconWith(total) : PLAIN);
    return () => {
      document.title = texts.product;
      document.querySelector('link[rel=icon]')?.setAttribute('href', PLAIN);
    };
  }, [total]);
}

function iconWith(count: number): string {
  const text = count > 99 ? '99' : String(count);
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><rect width="48" height="48" rx="15" fill="#0b7560"/>` +
    `<path d="M11 21.5C11 15.7 16.2 12 23 12s12 3.7 12 9.5S29.8 31 23 31c-1.1 0-2.2-.1-3.2-.3l-6.3 2.8 1-4.900C12.3 26.9 11 24.4 11 21.5z" fill="#fff"/>` +
    `<circle cx="34" cy="34" r="14" fill="#d7263d"/><text x="34" y="40" font-family="sans-serif" font-size="17" font-weight="700" text-anchor="middle" fill="#fff">${text}</text></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
