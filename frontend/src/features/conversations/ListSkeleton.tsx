import { Skeleton } from '../../ui/Skeleton';

/** Rows in their final size while the list loads. */
export function ListSkeleton({ rows }: { rows: number }) {
  return (
    <div aria-busy>
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} className="row row--skeleton">
          <Skeleton width={48} height={48} radius="36%" />
          <span className="row__main">
            <Skeleton width={`${50 + ((index * 17) % 30)}%`} height={13} />
            <Skeleton width={`${60 + ((index * 23) % 35)}%`} height={11} />
          </span>
        </div>
      ))}
    </div>
  );
}
