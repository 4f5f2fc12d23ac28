type Props = { count: number; muted?: boolean; label: string };

/** A number of unread things; 0 shows a dot (marked unread by hand). */
export function Badge({ count, muted = false, label }: Props) {
  const classes = ['badge', muted ? 'badge--muted' : '', count === 0 ? 'badge--dot' : '']
    .filter(Boolean)
    .join(' ');
  return (
    <span className={classes}>
      <span aria-hidden>{count === 0 ? '' : count > 999 ? '999+' : count}</span>
      <span className="visually-hidden">{label}</span>
    </span>
  );
}
