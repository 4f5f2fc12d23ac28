/**
 * The pendings of one conversation and their keys.
 *
 * Owns: which key (producer, no) a pending has, and when it gets another. Never does: send or wait.
 * Talks to: nobody. Start reading at: `gap`, `leave`, `moveOn`. Source: PROTOCOL.md R12–R14, docs/adr/0006.
 */
import type { Timer } from './ports';
import type { Pending } from './storage';
import type { MessageBody, Producer } from './wire';

/** One attempt: the request's id, and the newest epoch and the highest acked number of its producer when it was sent. */
export type Flight = { id: number; epoch: number; after: number };

/** From `from` on pendings leave their producer; below `closed` only those that are certainly not stored. */
type Leaving = { from: number; closed: number };

export class Queue {
  items: Pending[] = [];
  readonly flights = new Map<string, Flight>();
  /** To be sent (again) on this connection; acked ones too, until `persisted` (R17). */
  readonly due = new Set<string>();
  /** An attempt of these had no answer: they may be stored under their present key, now or later. */
  readonly doubt = new Set<string>();
  /** For what is written next. */
  producer: Producer;
  /** The last number that it gave here. */
  lastNo = 0;
  epoch = 0;
  failures = 0;
  timer: Timer = null;
  paused = false;
  readonly #leaving = new Map<Producer, Leaving>();
  readonly #acked = new Map<Producer, number>();

  constructor(producer: Producer) {
    this.producer = producer;
  }

  /** While true nothing may be sent: answers are still to come under keys that are about to change. */
  get isLeaving(): boolean {
    return this.#leaving.size > 0;
  }

  /** The highest number of a producer that has an ack. */
  acked(producer: Producer): number {
    return this.#acked.get(producer) ?? 0;
  }

  /** `closed`: nothing can be stored under `from` or any later number, now or ever, whatever is under way. */
  leave(producer: Producer, from: number, closed: boolean): void {
    const before = this.#leaving.get(producer) ?? { from, closed: Number.POSITIVE_INFINITY };
    this.#leaving.set(producer, {
      from: Math.min(before.from, from),
      closed: closed ? Math.min(before.closed, from) : before.closed,
    });
  }

  /** Takes in that it is stored, confirmed in the epoch `asOf`. Returns whether that is news. */
  stored(item: Pending, epoch: number, seq: number, asOf: number): boolean {
    this.#acked.set(item.producer, Math.max(item.no, this.acked(item.producer)));
    const before = item.ack;
    item.ack = { epoch, seq, asOf: Math.max(asOf, before?.asOf ?? 0) };
    item.failed = null;
    this.doubt.delete(item.id);
    this.failures = 0;
    if (item.ack.asOf < this.epoch) this.due.add(item.id);
    else this.due.delete(item.id);
    return before?.asOf !== item.ack.asOf || before.epoch !== epoch || before.seq !== seq;
  }

  /** Something else is stored under its key: this one is not, and never will be. */
  taken(item: Pending): void {
    item.ack = null;
    this.doubt.delete(item.id);
    this.leave(item.producer, item.no, false);
  }

  /** The log wants `expected` first. Returns the refusal that this one shares, else it is sent again. */
  gap(item: Pending, expected: number, flight: Flight): Pending['failed'] {
    const own = this.items.filter((i) => i.producer === item.producer && i.no >= expected);
    const wanted = own.find((i) => i.no === expected);
    if (!wanted && flight.after < expected && expected <= this.acked(item.producer)) {
      // Acked since this was sent: the answer is older than the ack.
      this.due.add(item.id);
      return null;
    }
    // Should the refused one be stored after all, this one may be, too: only its own key is safe, and that is shut now.
    const shut = wanted?.failed?.maybe && this.doubt.has(item.id);
    // Its place is lost: the log would have known it.
    if (!wanted || wanted.failed) item.ack = null;
    if (shut) return wanted.failed;
    this.due.add(item.id);
    if (wanted && !wanted.failed) {
      for (const later of own) if (!later.failed) this.due.add(later.id);
    } else {
      // What had that number is refused, or was stored and is gone: nobody sends it again.
      this.leave(item.producer, expected, !wanted?.failed?.maybe);
    }
    return null;
  }

  /**
   * Gives new keys to what has to leave a producer of which all answers are in, and returns those pendings.
   * A pending in doubt keeps its key unless it can not be stored under it any more: else it could be stored twice.
   */
  moveOn(fresh: () => Producer): Pending[] {
    const moved: Pending[] = [];
    for (const [old, { from, closed }] of this.#leaving) {
      if (this.items.some((i) => i.producer === old && this.flights.has(i.id))) continue;
      this.#leaving.delete(old);
      const next = fresh();
      let no = 0;
      for (const item of this.items) {
        if (item.producer !== old || item.no < from || item.ack || item.failed) continue;
        if (item.no < closed && this.doubt.has(item.id)) continue;
        no += 1;
        item.producer = next;
        item.no = no;
        this.doubt.delete(item.id);
        this.due.add(item.id);
        moved.push(item);
      }
      if (this.producer === old) {
        this.producer = next;
        this.lastNo = no;
      }
    }
    return moved;
  }
}

export function sameBody(a: MessageBody, b: MessageBody): boolean {
  const files = (body: MessageBody) => (body.attachments ?? []).join();
  return a.text === b.text && (a.reply_to ?? 0) === (b.reply_to ?? 0) && files(a) === files(b);
}
