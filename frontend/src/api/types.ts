/**
 * What the HTTP api answers, as types.
 *
 * Owns: the shapes. Never does: fetch. Talks to: wire (events are the same on both ways).
 * Start reading at: `Conversation`, `Item`. Times are Unix milliseconds, ids hexadecimal text.
 */
import type {
  ConversationId,
  CreatedBody,
  DurableEvent,
  HistoryAccess,
  HoleFrame,
  MemberBody,
  Producer,
  Role,
  SettingsBody,
  UserId,
} from '../realtime/wire';

export type UserCard = { id: UserId; username: string; display_name: string; about: string };
export type Me = {
  id: UserId;
  username: string;
  display_name: string;
  about: string;
  admin: boolean;
  created_at: number;
  hidden: boolean;
  receipts_off: boolean;
};
export type MePatch = Partial<Pick<Me, 'display_name' | 'about' | 'hidden' | 'receipts_off'>>;

export type AuthReply = { user: Me; session: string; socket_token: string; expires_at: number };
export type Registration = 'open' | 'invite' | 'closed';
export type Directory = 'open' | 'contacts';
export type Instance = {
  name: string;
  registration: Registration;
  directory: Directory;
  has_users: boolean;
  version: string;
};
export type SessionRow = {
  id: string;
  current: boolean;
  created_at: number;
  last_used_at: number;
  user_agent: string;
};

export type LastMessage = {
  seq: number;
  from: UserId;
  text: string;
  ts: number;
  deleted: boolean;
  kind: string;
};
export type Conversation = {
  id: ConversationId;
  kind: 'direct' | 'group';
  title: string | null;
  other: UserCard | null;
  members_count: number;
  role: Role | null;
  since: number;
  mver: number;
  history: HistoryAccess;
  head: { epoch: number; seq: number; ordinal: number };
  read: number;
  delivered: number;
  unread: number;
  last_message: LastMessage | null;
  activity_ts: number;
  muted: boolean;
  pinned: boolean;
  hidden: boolean;
  marked_unread: boolean;
  draft: string;
};
export type MinePatch = Partial<
  Pick<Conversation, 'muted' | 'pinned' | 'hidden' | 'marked_unread' | 'draft'>
>;
export type Member = { user: UserCard; role: Role; since: number };

export type Quote = { seq: number; from: UserId; text: string; deleted: boolean };
export type Reaction = { emoji: string; users: UserId[] };
export type MessageItem = {
  kind: 'message';
  seq: number;
  ordinal: number;
  from: UserId;
  producer: Producer;
  no: number;
  ts: number;
  text: string;
  reply_to: Quote | null;
  attachments: readonly string[];
  edited_ts: number | null;
  deleted: boolean;
  reactions: readonly Reaction[];
};
type SystemOf<K extends string, B> = {
  kind: K;
  seq: number;
  ordinal: number;
  from: UserId;
  ts: number;
  body: B;
};
export type SystemItem =
  | SystemOf<'created', CreatedBody>
  | SystemOf<'member', MemberBody>
  | SystemOf<'settings', SettingsBody>;
/** One folded entry of a conversation's history: its state as of the page's `as_of`. */
export type Item = MessageItem | SystemItem;
export type MessagesPage = {
  as_of: number;
  epoch: number;
  items: Item[];
  more_before: boolean;
  more_after: boolean;
};
/** Contiguous from `after` + 1. */
export type EventsPage = { epoch: number; head: number; events: (DurableEvent | HoleFrame)[] };

export type ReceiptRow = { user: UserId; delivered: number; read: number };
export type ReceiptCount = { seq: number; delivered: number; read: number };
export type ReceiptsReply = { receipts: ReceiptRow[] } | { counts: ReceiptCount[] };

export type OnlineUser = UserCard & { since: number };
export type OnlinePage = { total: number; users: OnlineUser[]; next?: string };
export type SearchHit = {
  conversation: ConversationId;
  seq: number;
  from: UserId;
  ts: number;
  text: string;
};
export type SearchPage = { hits: SearchHit[]; next: string | null };
export type InvitePreview = { title: string; members_count: number };

export type InstanceSettings = { name: string; registration: Registration; directory: Directory };
export type AdminUser = UserCard & {
  admin: boolean;
  disabled: boolean;
  created_at: number;
  last_seen: number | null;
};
export type AdminUserPatch = { disabled?: boolean; admin?: boolean; password?: string };
export type Report = {
  id: string;
  by: UserCard;
  conversation: ConversationId;
  seq: number;
  from: UserId;
  text: string;
  reason: string;
  ts: number;
  closed: boolean;
};
