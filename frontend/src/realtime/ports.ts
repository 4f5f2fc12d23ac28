/**
 * Everything realtime/ needs from its surroundings, so that it runs in a browser, in Node and under a fake clock.
 *
 * Owns: types only. Never does: touch a global. Talks to: nobody. Start reading at: `Ports`.
 */
import type {
  Conversation,
  EventsPage,
  MessagesPage,
  MinePatch,
  ReceiptsReply,
} from '../api/types';
import type { PendingStorage } from './storage';
import type { ConversationId } from './wire';

export type Timer = unknown;
export interface Clock {
  now(): number;
  after(ms: number, run: () => void): Timer;
  cancel(timer: Timer): void;
}

/** The part of a WebSocket that is used; `onend` is called exactly once, whatever happens. */
export interface Wire {
  send(text: string): void;
  close(code?: number): void;
}
export type WireEvents = {
  onopen(): void;
  onmessage(text: string): void;
  onend(code: number): void;
};
/** `token`: for clients without cookies. */
export type OpenWire = (token: string | null, events: WireEvents) => Wire;

export type RefreshOutcome =
  | { ok: true; token: string; expiresAt: number }
  | { ok: false; why: 'denied' | 'unreachable' };

/** What is fetched over HTTP. Every function rejects with an Error. */
export interface Backend {
  refresh(): Promise<RefreshOutcome>;
  conversations(): Promise<Conversation[]>;
  conversation(id: ConversationId): Promise<Conversation>;
  patchMine(id: ConversationId, patch: MinePatch): Promise<void>;
  events(id: ConversationId, after: number, minSeq: number | null): Promise<EventsPage>;
  messages(
    id: ConversationId,
    at: { before?: number; after?: number; around?: number },
  ): Promise<MessagesPage>;
  /** `seqs`: what to count for where nobody is named. */
  receipts(
    id: ConversationId,
    seqs?: readonly number[],
    signal?: AbortSignal,
  ): Promise<ReceiptsReply>;
}

/** What the machine says about itself. */
export interface Surroundings {
  hidden(): boolean;
  online(): boolean;
  /** Calls back when one of the two changed. */
  onChange(listener: () => void): () => void;
}

/** Named exclusive locks that end with their holder, also when it crashes (Web Locks). */
export interface Locks {
  /** Takes the lock if nobody holds it; null when somebody does. */
  tryHold(name: string): Promise<(() => void) | null>;
}

export type Ports = {
  clock: Clock;
  random(): number;
  openWire: OpenWire;
  backend: Backend;
  storage: PendingStorage;
  locks: Locks;
  surroundings: Surroundings;
  /** Name and version, told to the server's operators. */
  clientName: string;
};

/** 8 random bytes as text. */
export function newProducer(random: () => number): string {
  return Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join('');
}
