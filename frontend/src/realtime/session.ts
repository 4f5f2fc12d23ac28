/**
 * The connection to the server over time: connecting, hello, staying, and coming back.
 *
 * Owns: the one socket, the resume token, the replies awaited. Never does: know conversations.
 * Talks to: `Ports`. Start reading at: `Session.start`, `#ended`. Source: PROTOCOL.md §2, §6, §8.
 */
import { reconnectOf, retryOf } from './codes';
import type { ConnectionState, DisconnectReason } from './facade';
import type { Ports, Timer, Wire } from './ports';
import { Cell } from './store';
import { type Command, type ErrorFrame, type Frame, parseFrame, type WelcomeFrame } from './wire';

export const SILENCE_MS = 40_000;
const HELLO_MS = 10_000;
const PROBE_MS = 5_000;
const REPLY_MS = 15_000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A hidden tab may wait longer: it only feeds notifications. */
const HIDDEN_MIN_MS = 2_000;
const REAUTH_AHEAD_MS = 60_000;
const REAUTH_RETRY_MS = 5_000;

export type Reply =
  | { ok: true }
  | { ok: false; error: ErrorFrame }
  /** The connection ended, or no answer came in time: nobody knows. */
  | { ok: false; error: null };

export type SessionEvents = {
  onWelcome(welcome: WelcomeFrame): void;
  onFrame(frame: Frame): void;
  onDown(): void;
};

type Waiting = { resolve(reply: Reply): void; timer: Timer };

/** Full jitter: random between 0 and min(30 s, 0.5 s · 2ⁿ) (R40). */
export function backoffMs(attempt: number, random: () => number): number {
  return random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt, 10));
}

export class Session {
  readonly state: Cell<ConnectionState>;
  readonly #ports: Ports;
  readonly #events: SessionEvents;
  readonly #waiting = new Map<number, Waiting>();
  #wire: Wire | null = null;
  /** Counts sockets; callbacks of an earlier one are orphans and are ignored. */
  #generation = 0;
  #running = false;
  #attempt = 0;
  #resume: string | null = null;
  #token: string | null = null;
  /** When the slot of `goaway` comes, by our clock (R39). */
  #slotAt: number | null = null;
  /** The server's clock less ours: what it says of expiry is in its time. */
  #aheadMs = 0;
  #lastContact: number | null = null;
  #nextId = 1;
  #retryTimer: Timer = null;
  #watchdog: Timer = null;
  #reauthTimer: Timer = null;
  #unlisten: (() => void) | null = null;

  constructor(ports: Ports, events: SessionEvents) {
    this.#ports = ports;
    this.#events = events;
    this.state = new Cell<ConnectionState>(this.#down('stopped', null));
  }

  get connected(): boolean {
    return this.state.get().phase === 'connected';
  }

  start(token: string | null = null): void {
    if (this.#running) return;
    this.#running = true;
    this.#token = token;
    this.#unlisten = this.#ports.surroundings.onChange(() => this.#surroundingsChanged());
    this.#connect();
  }

  stop(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#unlisten?.();
    this.#drop(1000);
    this.state.set(this.#down('stopped', null));
  }

  /** Connects at once instead of at the next attempt; a live connection is probed. */
  reconnect(): void {
    const { phase } = this.state.get();
    if (!this.#running) this.start(this.#token);
    else if (phase === 'disconnected') this.#connect();
    else if (phase === 'connected') this.#probe();
  }

  /** Sends without waiting for an answer. False: not connected, nothing was sent. */
  send(command: Command): boolean {
    return this.connected && this.#write(command);
  }

  /** Sends with an id. The promise always resolves. For a publish `ok` never comes: `settle` resolves it. */
  request(command: Command): { id: number; reply: Promise<Reply> } {
    const id = this.#nextId;
    this.#nextId = id >= 0xffff_ffff ? 1 : id + 1;
    const reply = new Promise<Reply>((resolve) => {
      if (!this.connected || !this.#write({ ...command, id })) {
        resolve({ ok: false, error: null });
        return;
      }
      const timer = this.#ports.clock.after(REPLY_MS, () =>
        this.settle(id, { ok: false, error: null }),
      );
      this.#waiting.set(id, { resolve, timer });
    });
    return { id, reply };
  }

  settle(id: number, reply: Reply): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    this.#ports.clock.cancel(waiting.timer);
    waiting.resolve(reply);
  }

  #connect(): void {
    this.#drop();
    const generation = ++this.#generation;
    const mine = () => generation === this.#generation;
    this.state.set({ phase: 'connecting', lastContact: this.#lastContact });
    this.#watch(HELLO_MS);
    this.#wire = this.#ports.openWire(this.#token, {
      onopen: () => {
        if (!mine()) return;
        const hello: Command = { type: 'hello', client: this.#ports.clientName };
        if (this.#resume !== null) hello.resume = this.#resume;
        this.#write(hello);
      },
      onmessage: (text) => {
        if (mine()) this.#received(text);
      },
      onend: (code) => {
        if (mine()) void this.#ended(code, generation);
      },
    });
  }

  #received(text: string): void {
    this.#lastContact = this.#ports.clock.now();
    this.#watch(SILENCE_MS);
    const frame = parseFrame(text);
    if (!frame) return;
    if (frame.type === 'welcome') this.#welcomed(frame);
    if (frame.type === 'goaway') this.#slotAt = this.#lastContact + frame.reconnect_in_ms;
    if (frame.type === 'ok' && frame.id !== undefined) this.settle(frame.id, { ok: true });
    this.#events.onFrame(frame);
    if (frame.type === 'error' && frame.id !== undefined) {
      this.settle(frame.id, { ok: false, error: frame });
    }
    // Last, so that a token is never newer than what has been taken in (R26).
    if ('at' in frame && frame.at) this.#resume = frame.at;
  }

  #welcomed(welcome: WelcomeFrame): void {
    this.#attempt = 0;
    this.#slotAt = null;
    this.#aheadMs = welcome.server_time - this.#ports.clock.now();
    this.state.set({ phase: 'connected', lastContact: this.#lastContact, user: welcome.user });
    const left = welcome.expires_at - welcome.server_time;
    this.#planReauth(Math.max(0, left - REAUTH_AHEAD_MS * (1 + this.#ports.random() * 0.5)));
    this.#events.onWelcome(welcome);
  }

  async #ended(code: number, generation: number): Promise<void> {
    const slotAt = this.#slotAt;
    this.#slotAt = null;
    this.#drop();
    const plan = reconnectOf(code);
    let atOnce = plan === 'now';
    if (plan === 'never') {
      this.#running = false;
      this.#unlisten?.();
      this.state.set(this.#down(code === 4403 ? 'disabled' : 'refused', null));
      return;
    }
    // A failed upgrade shows no status to a browser: after a few of them the token may be the reason (R2).
    if (plan === 'after_refresh' || (code === 1006 && this.#attempt % 4 === 1)) {
      this.state.set(this.#down('lost', null));
      const refreshed = await this.#ports.backend.refresh();
      if (generation + 1 !== this.#generation || !this.#running) return;
      if (!refreshed.ok && refreshed.why === 'denied') {
        this.#running = false;
        this.#unlisten?.();
        this.state.set(this.#down('unauthorized', null));
        return;
      }
      if (refreshed.ok) {
        this.#token = this.#token === null ? null : refreshed.token;
        atOnce = plan === 'after_refresh';
      }
    }
    // At once, but once: a server that refuses fresh tokens, too, or restarts again and again, is not to be hammered.
    const backoff =
      atOnce && this.#attempt === 0 ? 0 : backoffMs(this.#attempt, this.#ports.random);
    const wait = slotAt === null ? backoff : Math.max(0, slotAt - this.#ports.clock.now());
    this.#attempt += 1;
    this.#retryAfter(this.#ports.surroundings.hidden() ? Math.max(wait, HIDDEN_MIN_MS) : wait);
  }

  #retryAfter(ms: number): void {
    const { clock, surroundings } = this.#ports;
    const offline = !surroundings.online();
    // Being told that there is no network is only a hint: try anyway, but rarely.
    const wait = offline ? BACKOFF_MAX_MS : ms;
    this.state.set(this.#down(offline ? 'offline' : 'lost', clock.now() + wait));
    this.#retryTimer = clock.after(wait, () => this.#connect());
  }

  /** Ends the socket and everything that waits for it. */
  #drop(code?: number): void {
    const { clock } = this.#ports;
    this.#generation += 1;
    for (const timer of [this.#retryTimer, this.#watchdog, this.#reauthTimer]) clock.cancel(timer);
    const wire = this.#wire;
    this.#wire = null;
    const wasConnected = this.connected;
    wire?.close(code);
    if (wasConnected) this.state.set({ phase: 'connecting', lastContact: this.#lastContact });
    for (const id of [...this.#waiting.keys()]) this.settle(id, { ok: false, error: null });
    if (wasConnected) this.#events.onDown();
  }

  #watch(ms: number): void {
    this.#ports.clock.cancel(this.#watchdog);
    const generation = this.#generation;
    this.#watchdog = this.#ports.clock.after(ms, () => {
      if (generation === this.#generation) void this.#ended(1006, generation);
    });
  }

  #probe(): void {
    if (this.#write({ type: 'ping' })) this.#watch(PROBE_MS);
  }

  #surroundingsChanged(): void {
    const { phase } = this.state.get();
    const { surroundings } = this.#ports;
    if (!this.#running) return;
    // Only a hint, but one worth a ping: a dead connection shows in 5 s instead of 40.
    if (!surroundings.online() && phase === 'connected') this.#probe();
    if (!surroundings.online() && phase === 'connecting') this.#watch(PROBE_MS);
    if (!surroundings.online() || surroundings.hidden()) return;
    if (phase === 'disconnected') {
      this.#attempt = 0;
      this.#connect();
    } else if (phase === 'connected') this.#probe();
  }

  #planReauth(ms: number): void {
    const generation = this.#generation;
    this.#reauthTimer = this.#ports.clock.after(ms, async () => {
      const refreshed = await this.#ports.backend.refresh();
      if (generation !== this.#generation || !this.connected) return;
      if (!refreshed.ok) {
        // Refused: the server closes with 4401 at the expiry, and that path asks the person to log in.
        if (refreshed.why === 'unreachable') this.#planReauth(REAUTH_RETRY_MS);
        return;
      }
      if (this.#token !== null) this.#token = refreshed.token;
      const { reply } = this.request({ type: 'reauth', token: refreshed.token });
      const answer = await reply;
      if (generation !== this.#generation || !this.connected) return;
      const again = !answer.ok && (answer.error === null || retryOf(answer.error.code) !== 'never');
      const now = this.#ports.clock.now() + this.#aheadMs;
      const left = refreshed.expiresAt - now - REAUTH_AHEAD_MS;
      this.#planReauth(again ? REAUTH_RETRY_MS : Math.max(REAUTH_RETRY_MS, left));
    });
  }

  #write(command: Command & { id?: number }): boolean {
    if (!this.#wire) return false;
    this.#wire.send(JSON.stringify(command));
    return true;
  }

  #down(reason: DisconnectReason, retryAt: number | null): ConnectionState {
    return { phase: 'disconnected', reason, lastContact: this.#lastContact, retryAt };
  }
}
