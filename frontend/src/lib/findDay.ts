/**
 * Finds where a day begins in a conversation, by halving. Pure: whoever asks brings `after`, which looks at one place.
 * Times do not decide the order of messages, so at the edge of a day the place is right to within the clocks of the servers.
 */
export type Place = { seq: number; ts: number };

/** Halvings that suffice for any seq below 2⁵³. */
const STEPS_MAX = 54;

/**
 * The first place at `start` or later, or null if all are earlier. Shape: one call of `after` for each halving of `head`.
 * `after(seq)` answers with the first place behind a seq, or null at the end; places that hold nothing are skipped by it.
 */
export async function findDay(
  start: number,
  head: number,
  after: (seq: number) => Promise<Place | null>,
): Promise<Place | null> {
  let [low, high] = [0, head];
  let found: Place | null = null;
  for (let step = 0; low < high && step < STEPS_MAX; step++) {
    const middle = Math.floor((low + high) / 2);
    const place = await after(middle);
    if (place && place.ts < start) low = place.seq;
    else {
      if (place) found = place;
      high = middle;
    }
  }
  return found;
}
