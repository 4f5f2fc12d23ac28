/**
 * At which ends an element hides something that one can scroll to.
 * Owns: nothing. Never does: scroll. Talks to: the element. Start reading at: `useOverflow`.
 */
import { type RefObject, useEffect, useState } from 'react';

type Hidden = { before: boolean; after: boolean };
const NOTHING: Hidden = { before: false, after: false };
/** Positions are fractions of pixels on some screens. */
const SLACK_PX = 2;

export function useOverflow(element: RefObject<HTMLElement | null>): Hidden {
  const [hidden, setHidden] = useState(NOTHING);
  useEffect(() => {
    const one = element.current;
    if (!one) return;
    const look = () => {
      const before = one.scrollLeft > SLACK_PX;
      const after = one.scrollLeft + one.clientWidth < one.scrollWidth - SLACK_PX;
      setHidden((was) => (was.before === before && was.after === after ? was : { before, after }));
    };
    const sizes = new ResizeObserver(look);
    sizes.observe(one);
    one.addEventListener('scroll', look, { passive: true });
    return () => {
      sizes.disconnect();
      one.removeEventListener('scroll', look);
    };
  }, [element]);
  return hidden;
}
