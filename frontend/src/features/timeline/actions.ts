import type { MessageEntry } from '../../realtime';

/** What can be done with messages; the page that shows the timeline provides it once (stable identity). */
export type MessageActions = {
  onReply: (entry: MessageEntry) => void;
  onEdit: (entry: MessageEntry) => void;
  onDelete: (entry: MessageEntry) => void;
  onReport: (entry: MessageEntry) => void;
  onReact: (seq: number, emoji: string, on: boolean) => void;
  onCopy: (text: string) => void;
  onCopyLink: (seq: number) => void;
  /** Somebody wants to see another day than this one. */
  onDay: (ts: number) => void;
  onJump: (seq: number) => void;
  onRetry: (id: string) => void;
  onDiscard: (id: string) => void;
};

/** What the viewer is in this conversation. */
export type Viewer = {
  conversation: string;
  me: string;
  username: string;
  direct: boolean;
  canWrite: boolean;
  canModerate: boolean;
};
