import { Bell, BellOff, Eye, EyeOff, Link, Mail, MailOpen, Pin, PinOff } from 'lucide-react';
import type { Conversation, MinePatch } from '../../api/types';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import { linkTo } from '../../lib/router';
import { texts } from '../../lib/texts';
import { copy } from '../../ui/copy';
import type { MenuEntry } from '../../ui/Menu';
import { toast } from '../../ui/Toasts';

export function useConversationMenu(conversation: Conversation): MenuEntry[] {
  const chat = useChat();
  const { id, muted, pinned, hidden, marked_unread, unread, head } = conversation;
  const patch = (change: MinePatch) =>
    void chat.patchMine(id, change).catch((failure: unknown) => toast(explain(failure)));
  const isUnread = unread > 0 || marked_unread;
  const toggleUnread = () => {
    if (!isUnread) return patch({ marked_unread: true });
    chat.markRead(id, head.seq);
    if (marked_unread) patch({ marked_unread: false });
  };
  return [
    {
      label: pinned ? texts.list.unpin : texts.list.pin,
      icon: pinned ? <PinOff size={18} aria-hidden /> : <Pin size={18} aria-hidden />,
      onSelect: () => patch({ pinned: !pinned }),
    },
    {
      label: muted ? texts.list.unmute : texts.list.mute,
      icon: muted ? <Bell size={18} aria-hidden /> : <BellOff size={18} aria-hidden />,
      onSelect: () => patch({ muted: !muted }),
    },
    {
      label: isUnread ? texts.list.markRead : texts.list.markUnread,
      icon: isUnread ? <MailOpen size={18} aria-hidden /> : <Mail size={18} aria-hidden />,
      onSelect: toggleUnread,
    },
    {
      label: texts.list.copyLink,
      icon: <Link size={18} aria-hidden />,
      onSelect: () => void copy(linkTo(id), texts.linkCopied),
    },
    'separator',
    {
      label: hidden ? texts.list.unhide : texts.list.hide,
      icon: hidden ? <Eye size={18} aria-hidden /> : <EyeOff size={18} aria-hidden />,
      onSelect: () => patch({ hidden: !hidden }),
    },
  ];
}
