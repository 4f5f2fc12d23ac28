/**
 * A virtual list that holds still. Owns: which rows are in the document, their measured heights, and the scroll position.
 * Never does: know what a row is. Talks to: the scroll element only.
 *
 * The position is kept as an anchor (a row and its distance from the top of the view, or "the bottom"), never as a number of
 * pixels. After every change the wanted scrollTop is computed from the anchor, so older rows, late measurements, reactions
 * and the keyboard of a phone move nothing that is being read. Bounds: about one view of rows above and below.
 */
import { type RefObject, useCallback, useEffect, useLayoutEffect, useReducer, useRef } from 'react';

type Anchor = { kind: 'bottom' } | { kind: 'row'; key: string; top: number };

export type WindowOptions = {
  keys: readonly string[];
  estimate: (index: number) => number;
  /** The last row is the newest there is: being at the end means following it. */
  followEnd: boolean;
  onNearStart: () => void;
  onNearEnd: () => void;
};

export type Window = {
  scroller: RefObject<HTMLDivElement | null>;
  start: number;
  end: number;
  before: number;
  after: number;
  /** Called by rows with their element; measured until it leaves. */
  measure: (key: string, element: HTMLElement | null) => void;
  onScroll: () => void;
  scrollToEnd: () => void;
  scrollTo: (key: string, place: 'top' | 'center') => void;
  isAtEnd: () => boolean;
};

const OVERSCAN_PX = 700;
const NEAR_PX = 1_200;
const END_SLACK_PX = 24;
/** Passes of measuring that one change may cause; three are enough for rows that enter by a measurement. */
const PASSES_MAX = 6;
const TOP_PLACE_PX = 64;

export function useWindow({
  keys,
  estimate,
  followEnd,
  onNearStart,
  onNearEnd,
}: WindowOptions): Window {
  const scroller = useRef<HTMLDivElement>(null);
  const heights = useRef(new Map<string, number>());
  const elements = useRef(new Map<string, HTMLElement>());
  const anchor = useRef<Anchor>({ kind: 'bottom' });
  const viewHeight = useRef(800);
  const ownTop = useRef(-1);
  const passes = useRef(0);
  const observer = useRef<ResizeObserver | null>(null);
  const [, again] = useReducer((n: number) => n + 1, 0);

  const offsets = prefixSums(keys, heights.current, estimate);
  const total = offsets[keys.length] ?? 0;
  const wanted = wantedTop(anchor.current, keys, offsets, total, viewHeight.current);
  const start = firstBelow(offsets, wanted - OVERSCAN_PX);
  const end = Math.min(
    keys.length,
    firstBelow(offsets, wanted + viewHeight.current + OVERSCAN_PX) + 1,
  );
  const latest = useRef({ keys, offsets, start, end, followEnd });
  latest.current = { keys, offsets, start, end, followEnd };

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    viewHeight.current = element.clientHeight;
    let changed = false;
    for (const [key, row] of elements.current) {
      const height = row.getBoundingClientRect().height;
      if (Math.abs((heights.current.get(key) ?? -1) - height) > 0.5) {
        heights.current.set(key, height);
        changed = true;
      }
    }
    if (changed && passes.current < PASSES_MAX) {
      passes.current += 1;
      again();
      return;
    }
    passes.current = 0;
    if (Math.abs(element.scrollTop - wanted) > 0.5) {
      element.scrollTop = wanted;
      ownTop.current = element.scrollTop;
    }
    // Everything below the anchor fits: that is being at the end, and following it.
    if (followEnd && keys.length > 0 && wanted >= total - viewHeight.current - 1) {
      anchor.current = { kind: 'bottom' };
    }
  });

  useEffect(() => {
    if (keys.length === 0) return;
    if (wanted < NEAR_PX) onNearStart();
    if (total - wanted - viewHeight.current < NEAR_PX) onNearEnd();
  });

  useEffect(() => {
    const watch = new ResizeObserver(() => again());
    observer.current = watch;
    if (scroller.current) watch.observe(scroller.current);
    for (const row of elements.current.values()) watch.observe(row);
    return () => watch.disconnect();
  }, []);

  const measure = useCallback((key: string, element: HTMLElement | null) => {
    const old = elements.current.get(key);
    if (old && old !== element) observer.current?.unobserve(old);
    if (element) {
      elements.current.set(key, element);
      observer.current?.observe(element);
    } else elements.current.delete(key);
  }, []);

  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (!element || Math.abs(element.scrollTop - ownTop.current) < 1) return;
    ownTop.current = -1;
    const now = latest.current;
    const top = element.scrollTop;
    const atEnd = element.scrollHeight - element.clientHeight - top < END_SLACK_PX;
    if (atEnd && now.followEnd) anchor.current = { kind: 'bottom' };
    else {
      const index = Math.max(0, firstBelow(now.offsets, top + 1));
      const key = now.keys[index];
      if (key !== undefined)
        anchor.current = { kind: 'row', key, top: (now.offsets[index] ?? 0) - top };
    }
    const from = firstBelow(now.offsets, top - OVERSCAN_PX);
    const to = Math.min(
      now.keys.length,
      firstBelow(now.offsets, top + element.clientHeight + OVERSCAN_PX) + 1,
    );
    if (from !== now.start || to !== now.end) again();
  }, []);

  const scrollToEnd = useCallback(() => {
    anchor.current = { kind: 'bottom' };
    again();
  }, []);

  const scrollTo = useCallback((key: string, place: 'top' | 'center') => {
    const height = heights.current.get(key) ?? 60;
    const top =
      place === 'top' ? TOP_PLACE_PX : Math.max(TOP_PLACE_PX, (viewHeight.current - height) / 2);
    anchor.current = { kind: 'row', key, top };
    again();
  }, []);

  const isAtEnd = useCallback(() => anchor.current.kind === 'bottom', []);

  return {
    scroller,
    start,
    end,
    before: offsets[start] ?? 0,
    after: total - (offsets[end] ?? total),
    measure,
    onScroll,
    scrollToEnd,
    scrollTo,
    isAtEnd,
  };
}

function prefixSums(
  keys: readonly string[],
  heights: ReadonlyMap<string, number>,
  estimate: (index: number) => number,
): Float64Array {
  const sums = new Float64Array(keys.length + 1);
  keys.forEach((key, index) => {
    sums[index + 1] = (sums[index] ?? 0) + (heights.get(key) ?? estimate(index));
  });
  return sums;
}

function wantedTop(
  anchor: Anchor,
  keys: readonly string[],
  offsets: Float64Array,
  total: number,
  view: number,
): number {
  const most = Math.max(0, total - view);
  if (anchor.kind === 'bottom') return most;
  const index = keys.indexOf(anchor.key);
  if (index < 0) return most;
  return Math.min(most, Math.max(0, (offsets[index] ?? 0) - anchor.top));
}

/** The row that contains the pixel `y` (the first row that ends below it). */
function firstBelow(offsets: Float64Array, y: number): number {
  let low = 0;
  let high = Math.max(0, offsets.length - 2);
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((offsets[middle + 1] ?? 0) > y) high = middle;
    else low = middle + 1;
  }
  return low;
}
