/**
 * The pendings of one conversation and their numbers.
 *
 * Owns: which number a pending has, and which numbers are free again. Never does: send or wait.
 * Talks to: nobody. Start reading at: `renumber`. Source: PROTOCOL.md R12–R14.
 */
import type { Timer } from './ports';
import type { Pending } from './storage';
import type { MessageBody, Producer } from './wire';

/** One attempt: the request's id and the number it was sent under. */
export type Flight = { id: number; no: number };

export class Queue {
  items: Pending[] = [];
  readonly flights = new Map<string, Flight>();
  /** To be sent (again) on this connection; acked ones too, until `persisted` (R17). */
  readonly due = new Set<string>();
  /** Highest number known to be used, per producer. */
  readonly used = new Map<Producer, number>();
  /** Lowest freed number, per producer: renumber from there as soon as nothing is in flight. */
  readonly renumberFrom = new Map<Producer, number>();
  epoch = 0;
  failures = 0;
  timer: Timer = null;
  paused = false;

  sentAs(item: Pending): number {
    return this.flights.get(item.id)?.no ?? item.no;
  }

  nextNo(producer: Producer): number {
    let last = this.used.get(producer) ?? 0;
    for (const item of this.items) {
      if (item.producer === producer && !item.failed) last = Math.max(last, item.no);
    }
    return last + 1;
  }

  use(producer: Producer, no: number): void {
    this.used.set(producer, Math.max(no, this.used.get(producer) ?? 0));
  }

  free(producer: Producer, from: number): void {
    this.renumberFrom.set(producer, Math.min(from, this.renumberFrom.get(producer) ?? from));
  }

  /**
   * Closes the gaps that refused messages left, and returns whose number changed.
   * Only while nothing is in flight: a number must never mean two messages at once.
   */
  renumber(): Pending[] {
    const moved: Pending[] = [];
    for (const [producer, from] of this.renumberFrom) {
      let next = Math.max(from, (this.used.get(producer) ?? 0) + 1);
      for (const item of this.items) {
        if (item.producer !== producer || item.ack || item.failed || item.no < from) continue;
        if (item.no !== next) moved.push(item);
        item.no = next;
        next += 1;
        this.due.add(item.id);
      }
    }
    this.renumberFrom.clear();
    return moved;
  }
}

export function sameBody(a: MessageBody, b: MessageBody): boolean {
  const files = (body: MessageBody) => (body.attachments ?? []).join();
  return a.text === b.text && (a.reply_to ?? 0) === (b.reply_to ?? 0) && files(a) === files(b);
}
