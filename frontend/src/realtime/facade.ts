/**
 * What the rest of the program sees of realtime/: the facade and the values its stores hold.
 *
 * Owns: types only. Never does: anything. Talks to: nobody. Start reading at: `ChatClient`.
 */
import type { Conversation, MessageItem, MinePatch, Quote, SystemItem } from '../api/types';
import type { Store } from './store';
import type { ConversationId, DurableEvent, MessageBody, UserChange, UserId } from './wire';

/** `lastContact`: when the server was heard last, Unix ms; null = never. `retryAt`: when the next attempt starts. */
export type ConnectionState =
  | {
      phase: 'disconnected';
      reason: DisconnectReason;
      lastContact: number | null;
      retryAt: number | null;
    }
  | { phase: 'connecting'; lastContact: number | null }
  | { phase: 'connected'; lastContact: number | null; user: UserId };

/** `stopped`: by us. `offline`: no network. `unauthorized`: log in again. `disabled`: account. `refused`: fatal close. */
export type DisconnectReason =
  | 'stopped'
  | 'offline'
  | 'lost'
  | 'unauthorized'
  | 'disabled'
  | 'refused';

/** Of an own message: clock → tick → two ticks → coloured, or failed with the reason. */
export type OwnStatus =
  | { state: 'sending' }
  | { state: 'sent' }
  | { state: 'delivered' }
  | { state: 'read' }
  | { state: 'failed'; code: string; message: string };

/** A message as the timeline shows it. `key` stays the same from the last local echo to the stored message. */
export type MessageEntry = MessageItem & { key: string; status: OwnStatus | null };
export type SystemEntry = SystemItem & { key: string };
/** An own message whose event has not come yet. `id` is the handle for `retry` and `discard`. */
export type PendingEntry = {
  kind: 'pending';
  key: string;
  id: string;
  from: UserId;
  ts: number;
  text: string;
  reply_to: Quote | null;
  attachments: readonly string[];
  status: OwnStatus;
};
export type TimelineEntry = MessageEntry | SystemEntry | PendingEntry;

export type TimelineView = {
  /** Ascending by seq; pendings last (only while the window reaches the head). */
  entries: readonly TimelineEntry[];
  /** `loading`: nothing to show yet. `failed`: the first page could not be fetched; `reload()` tries again. */
  phase: 'loading' | 'ready' | 'failed';
  moreBefore: boolean;
  /** The window does not reach the head: `loadNewer()` or `jumpToNewest()`. */
  moreAfter: boolean;
  loadingBefore: boolean;
  loadingAfter: boolean;
  /** Events are known to be missing and are being fetched. */
  catchingUp: boolean;
};

export interface TimelineHandle extends Store<TimelineView> {
  loadOlder(): Promise<void>;
  loadNewer(): Promise<void>;
  /** Shows the neighbourhood of one seq (search hit, quoted message, first unread). */
  jumpTo(seq: number): Promise<void>;
  jumpToNewest(): Promise<void>;
  reload(): Promise<void>;
}

export type ConversationsState = {
  phase: 'loading' | 'ready' | 'failed';
  /** Pinned first, then latest activity first; hidden ones included (the list filters). */
  list: readonly Conversation[];
  byId: ReadonlyMap<ConversationId, Conversation>;
};
export type UnreadState = {
  total: number;
  conversations: number;
  byId: ReadonlyMap<ConversationId, number>;
};

/** `stale`: as of the last contact, not now (the connection is away). */
export type PresenceView = {
  state: 'online' | 'offline' | 'unknown';
  since: number | null;
  stale: boolean;
};

export type ReceiptCursor = { delivered: number; read: number };
/** Cursors of all other members who give receipts, by user. Empty until they are known, and above 32 members. */
export type ReceiptsView = ReadonlyMap<UserId, ReceiptCursor>;

/**
 * Above 32 members: how many have got and read own messages, as far as they were counted. `of`: all others who give
 * receipts; 0 = not counted (yet), or nobody. `all`: everybody has got, and read, what is up to there.
 */
export type CountsView = {
  of: number;
  all: ReceiptCursor;
  bySeq: ReadonlyMap<number, ReceiptCursor>;
};

export interface ChatClient {
  readonly me: UserId;
  readonly connection: Store<ConnectionState>;
  readonly conversations: Store<ConversationsState>;
  readonly unread: Store<UnreadState>;
  /** Pendings that are not yet durable, in all conversations (for "leave the page?"). */
  readonly unsent: Store<number>;

  start(): void;
  /** Closes the socket and stops every timer. Pendings stay in the storage. */
  stop(): Promise<void>;
  /** At logout: forgets everything kept on this device, unsent messages too. */
  forget(): Promise<void>;
  /** Tries to connect at once instead of waiting for the next attempt. */
  reconnect(): void;

  /** Subscribing to it follows and watches the conversation (typing, receipts). */
  timeline(conversation: ConversationId): TimelineHandle;
  /** Subscribing watches the person. */
  presence(user: UserId): Store<PresenceView>;
  /** Users who type there now, longest first; never oneself. */
  typing(conversation: ConversationId): Store<readonly UserId[]>;
  receipts(conversation: ConversationId): Store<ReceiptsView>;
  counts(conversation: ConversationId): Store<CountsView>;
  /** Own messages that are on screen, oldest first: counted while they are, where nobody is named. None: it was left. */
  lookAt(conversation: ConversationId, seqs: readonly number[]): void;

  /** Shows and sends a message. Returns the pending's id, or why the text cannot be sent. */
  publish(conversation: ConversationId, body: MessageBody): PublishOutcome;
  retry(id: string): void;
  discard(id: string): void;
  /** To be called at each keystroke; sends at most one signal per 3 s. */
  typed(conversation: ConversationId): void;
  /** All up to `seq` was on screen while the page was visible. */
  markRead(conversation: ConversationId, seq: number): void;

  /** Mute, pin, hide, mark unread, draft: shown at once, undone when the api refuses. */
  patchMine(conversation: ConversationId, patch: MinePatch): Promise<void>;
  /** After a mutation through HTTP that makes a conversation (new direct, group, join). */
  adopt(conversation: Conversation): void;
  refreshConversations(): Promise<void>;

  /** Every new durable event of any conversation, once, in order (notifications, query invalidation). */
  onEvent(listener: (event: DurableEvent) => void): () => void;
  /** What to refetch: after each welcome all of it, and when another device changed it. */
  onUserChanged(listener: (what: UserChange) => void): () => void;
}

export type PublishOutcome =
  | { ok: true; id: string }
  | { ok: false; reason: 'empty' | 'too_long' | 'control_characters' | 'too_many_attachments' };
