import { useLayoutEffect, useRef, useSyncExternalStore } from 'react';

type Toast = { id: number; text: string };
const SHOWN_MS = 4_000;
const TOASTS_MAX = 3;
let toasts: readonly Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

/** Says something for a few seconds, also to screen readers. */
export function toast(text: string): void {
  const id = next++;
  set([...toasts, { id, text }].slice(-TOASTS_MAX));
  setTimeout(() => set(toasts.filter((one) => one.id !== id)), SHOWN_MS);
}

function set(value: readonly Toast[]): void {
  toasts = value;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Toasts() {
  const shown = useSyncExternalStore(subscribe, () => toasts);
  const ref = useRef<HTMLDivElement>(null);
  // Always in the top layer, and above whatever dialog is open by the time something is said.
  useLayoutEffect(() => {
    if (shown.length > 0 && ref.current?.matches(':popover-open')) ref.current.hidePopover();
    if (!ref.current?.matches(':popover-open')) ref.current?.showPopover();
  }, [shown]);
  return (
    <div ref={ref} popover="manual" className="toasts" role="status" aria-live="polite">
      {shown.map((one) => (
        <div key={one.id} className="toast">
          {one.text}
        </div>
      ))}
    </div>
  );
}
