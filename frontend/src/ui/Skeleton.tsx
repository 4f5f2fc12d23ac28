type Props = { width: number | string; height: number; radius?: number | string };

/** Holds the place of something that loads, in its final size. */
export function Skeleton({ width, height, radius }: Props) {
  return <span className="skeleton" style={{ width, height, borderRadius: radius }} aria-hidden />;
}
