/**
 * The frames of `webchat.v1` as types, and parsing one text message into one.
 *
 * Owns: the wire types, the shape check at the edge. Never does: act on a frame. Talks to: nobody.
 * Start reading at: `Frame`, then `parseFrame`. Source: PROTOCOL.md, crates/protocol/src/{event,command}.rs.
 */
import type { ErrorCode } from './codes';

export type UserId = string;
export type ConversationId = string;
export type Producer = string;
export type Role = 'member' | 'admin' | 'owner';
export type HistoryAccess = 'joined' | 'all';

export type MessageBody = { text: string; reply_to?: number; attachments?: readonly string[] };
export type EditBody = { target: number; text: string };
export type DeleteBody = { target: number };
export type ReactionBody = { target: number; emoji: string; on: boolean };
export type MemberChange = { user: UserId; role: Role | null; since: number };
export type CreatedBody = { title?: string; history: HistoryAccess; members: MemberChange[] };
export type MemberBody = { changes: MemberChange[] };
export type SettingsBody = { title?: string; history?: HistoryAccess };

type Durable<T extends string, B> = {
  type: T;
  conversation: ConversationId;
  epoch: number;
  seq: number;
  ordinal: number;
  from: UserId;
  producer: Producer;
  no: number;
  ts: number;
  body: B;
  /** Resume token; absent in answers of the api. */
  at?: string;
};

export type CreatedEvent = Durable<'created', CreatedBody>;
export type MessageEvent = Durable<'message', MessageBody>;
export type EditEvent = Durable<'edit', EditBody>;
export type DeleteEvent = Durable<'delete', DeleteBody>;
export type ReactionEvent = Durable<'reaction', ReactionBody>;
export type MemberEvent = Durable<'member', MemberBody>;
export type SettingsEvent = Durable<'settings', SettingsBody>;

/** An event that has a seq in its conversation. */
export type DurableEvent =
  | CreatedEvent
  | MessageEvent
  | EditEvent
  | DeleteEvent
  | ReactionEvent
  | MemberEvent
  | SettingsEvent;

/** Slots that hold nothing for this user: the position moves over them. */
export type HoleFrame = {
  type: 'hole';
  conversation: ConversationId;
  epoch: number;
  from: number;
  to: number;
  at?: string;
};

export type Resume = 'fresh' | 'resumed' | 'reset';
export type WelcomeFrame = {
  type: 'welcome';
  protocol: string;
  user: UserId;
  session: string;
  node: string;
  expires_at: number;
  server_time: number;
  durability: string;
  heartbeat_ms: number;
  resume: Resume;
  at: string;
};
export type AckFrame = {
  type: 'ack';
  conversation: ConversationId;
  producer: Producer;
  no: number;
  epoch: number;
  seq: number;
  ts: number;
};
export type OkFrame = { type: 'ok'; id?: number };
export type ErrorFrame = {
  type: 'error';
  id?: number;
  code: ErrorCode;
  message: string;
  retry_after_ms?: number;
  conversation?: ConversationId;
  producer?: Producer;
  no?: number;
  expected?: number;
  seq?: number;
};
export type ResumedFrame = { type: 'resumed'; events: number; at: string };
export type ReceiptFrame = {
  type: 'receipt';
  conversation: ConversationId;
  user: UserId;
  delivered?: number;
  read?: number;
};
export type TypingFrame = {
  type: 'typing';
  conversation: ConversationId;
  user: UserId;
  producer: Producer;
  no: number;
};
export type PresenceEntry = { user: UserId; online: boolean; since?: number };
export type PresenceFrame = { type: 'presence'; people: PresenceEntry[] };
export type UserChange = 'profile' | 'conversations' | 'blocked' | 'settings' | 'sessions';
export type UserChangedFrame = { type: 'user_changed'; what: UserChange };
export type PersistedFrame = {
  type: 'persisted';
  conversation: ConversationId;
  epoch: number;
  seq: number;
};
export type BeatFrame = { type: 'beat'; at: string };
export type GoawayFrame = { type: 'goaway'; reconnect_in_ms: number };

/** What the server sends. */
export type Frame =
  | WelcomeFrame
  | AckFrame
  | OkFrame
  | ErrorFrame
  | DurableEvent
  | HoleFrame
  | ResumedFrame
  | ReceiptFrame
  | TypingFrame
  | PresenceFrame
  | UserChangedFrame
  | PersistedFrame
  | BeatFrame
  | GoawayFrame;

/** What a client sends. `id` is added by the session. */
export type Command =
  | { type: 'hello'; client?: string; resume?: string }
  | {
      type: 'publish';
      conversation: ConversationId;
      producer: Producer;
      no: number;
      body: MessageBody;
    }
  | { type: 'receipt'; conversation: ConversationId; delivered?: number; read?: number }
  | { type: 'typing'; conversation: ConversationId; producer: Producer; no: number }
  | { type: 'watch'; people: readonly UserId[]; conversations: readonly ConversationId[] }
  | { type: 'reauth'; token: string }
  | { type: 'ping' };

type Check = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Check>>;

const text: Check = (v) => typeof v === 'string';
const whole: Check = (v) => Number.isSafeInteger(v) && (v as number) >= 0;
const flag: Check = (v) => typeof v === 'boolean';
const optional =
  (check: Check): Check =>
  (v) =>
    v === undefined || v === null || check(v);
const hex =
  (digits: number): Check =>
  (v) =>
    typeof v === 'string' && v.length === digits && /^[0-9a-f]*$/.test(v);
const listOf =
  (check: Check): Check =>
  (v) =>
    Array.isArray(v) && v.every(check);
const oneOf =
  (...words: string[]): Check =>
  (v) =>
    typeof v === 'string' && words.includes(v);
const shaped =
  (shape: Shape): Check =>
  (v) =>
    typeof v === 'object' && v !== null && fits(v as Record<string, unknown>, shape);

function fits(value: Record<string, unknown>, shape: Shape): boolean {
  for (const field in shape) if (!shape[field]?.(value[field])) return false;
  return true;
}

const user = hex(16);
const conversation = hex(32);
const producer = hex(16);
const role = oneOf('member', 'admin', 'owner');
const change = shaped({ user, role: (v) => v === null || role(v), since: whole });
const place: Shape = { conversation, epoch: whole };
const durable = (body: Shape): Shape => ({
  ...place,
  seq: whole,
  ordinal: whole,
  from: user,
  producer,
  no: whole,
  ts: whole,
  body: shaped(body),
  at: optional(text),
});

const SHAPES: Readonly<Record<Frame['type'], Shape>> = {
  welcome: {
    protocol: text,
    user,
    session: hex(32),
    node: text,
    expires_at: whole,
    server_time: whole,
    durability: text,
    heartbeat_ms: whole,
    resume: oneOf('fresh', 'resumed', 'reset'),
    at: text,
  },
  ack: { ...place, producer, no: whole, seq: whole, ts: whole },
  ok: { id: optional(whole) },
  error: {
    id: optional(whole),
    code: text,
    message: text,
    retry_after_ms: optional(whole),
    conversation: optional(conversation),
    producer: optional(producer),
    no: optional(whole),
    expected: optional(whole),
    seq: optional(whole),
  },
  created: durable({
    title: optional(text),
    history: oneOf('joined', 'all'),
    members: listOf(change),
  }),
  message: durable({
    text,
    reply_to: optional(whole),
    attachments: optional(listOf(text)),
  }),
  edit: durable({ target: whole, text }),
  delete: durable({ target: whole }),
  reaction: durable({ target: whole, emoji: text, on: flag }),
  member: durable({ changes: listOf(change) }),
  settings: durable({ title: optional(text), history: optional(oneOf('joined', 'all')) }),
  hole: { ...place, from: whole, to: whole, at: optional(text) },
  resumed: { events: whole, at: text },
  receipt: { conversation, user, delivered: optional(whole), read: optional(whole) },
  typing: { conversation, user, producer, no: whole },
  presence: { people: listOf(shaped({ user, online: flag, since: optional(whole) })) },
  user_changed: { what: text },
  persisted: { ...place, seq: whole },
  beat: { at: text },
  goaway: { reconnect_in_ms: whole },
};

/** Whether an already parsed value is a frame that this client knows. */
export function asFrame(value: unknown): Frame | null {
  if (typeof value !== 'object' || value === null) return null;
  const { type } = value as { type?: unknown };
  if (typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) return null;
  const shape = SHAPES[type as Frame['type']];
  return fits(value as Record<string, unknown>, shape) ? (value as Frame) : null;
}

/**
 * Parses one text message. Returns null for what this client does not know or what is malformed: both are ignored,
 * for that is how the protocol grows (R7); a lost event shows as a gap in seq and is fetched.
 */
export function parseFrame(message: string): Frame | null {
  try {
    return asFrame(JSON.parse(message));
  } catch {
    return null;
  }
}

const DURABLE = new Set<string>([
  'created',
  'message',
  'edit',
  'delete',
  'reaction',
  'member',
  'settings',
]);

/** Tells the events that have a seq from everything else. */
export function isDurable(frame: Frame): frame is DurableEvent {
  return DURABLE.has(frame.type);
}
