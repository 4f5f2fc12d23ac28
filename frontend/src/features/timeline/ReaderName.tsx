import { useName } from '../../lib/names';

export function ReaderName({ user }: { user: string }) {
  return <span>{useName(user)}</span>;
}
