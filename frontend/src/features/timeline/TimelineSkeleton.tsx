import { Skeleton } from '../../ui/Skeleton';

const WIDTHS = [220, 310, 160, 280, 240, 190];

export function TimelineSkeleton({ rows }: { rows: number }) {
  return (
    <div className="timeline__loading" aria-hidden>
      {WIDTHS.slice(0, rows).map((width, index) => (
        <span
          key={width}
          style={{ display: 'flex', justifyContent: index % 3 === 1 ? 'flex-end' : 'flex-start' }}
        >
          <Skeleton width={`min(${width}px, 70%)`} height={36} radius={16} />
        </span>
      ))}
    </div>
  );
}
