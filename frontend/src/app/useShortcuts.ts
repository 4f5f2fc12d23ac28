import { useEffect, useRef } from 'react';
import { useChat } from '../lib/chat';
import { conversationPath, homePath, navigate, parse } from '../lib/router';

/** The keys that work everywhere. Those of the composer and of messages live with them. */
export function useShortcuts(onHelp: () => void): void {
  const chat = useChat();
  const help = useRef(onHelp);
  help.current = onHelp;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
      const target = event.target;
      const writing =
        target instanceof HTMLElement &&
        (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
      const route = parse(location.pathname, location.search);
      if (event.key === '?' && !writing) help.current();
      else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k')
        navigate(
          route.page === 'conversation'
            ? conversationPath(route.id, { side: 'search' })
            : homePath('search'),
        );
      else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
        const list = chat.conversations.get().list.filter((one) => !one.hidden);
        const at = list.findIndex((one) => route.page === 'conversation' && one.id === route.id);
        const next =
          list[event.key === 'ArrowDown' ? Math.min(list.length - 1, at + 1) : Math.max(0, at - 1)];
        if (next) navigate(conversationPath(next.id));
      } else if (
        event.key === 'Escape' &&
        route.page === 'conversation' &&
        (route.details || route.side !== 'chats')
      )
        navigate(conversationPath(route.id));
      else return;
      event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [chat]);
}
