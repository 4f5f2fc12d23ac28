import { useName } from '../../lib/names';
import { texts } from '../../lib/texts';
import type { SystemEntry } from '../../realtime';

type Props = { entry: SystemEntry; me: string; direct: boolean };

/** Who created, joined, left, renamed. */
export function SystemLine({ entry, me, direct }: Props) {
  const change = entry.kind === 'member' ? (entry.body.changes[0] ?? null) : null;
  const more = entry.kind === 'member' ? entry.body.changes.length - 1 : 0;
  const [sender, subject] = [useName(entry.from), useName(change?.user ?? null)];
  const who = entry.from === me ? texts.you : sender;
  const whom =
    (change?.user === me ? texts.you.toLowerCase() : subject) +
    (more > 0 ? ` + ${texts.timeline.others(more)}` : '');
  return (
    <div className="system">
      <span>{sentence(entry, who, whom, change?.user === entry.from, direct)}</span>
    </div>
  );
}

function sentence(
  entry: SystemEntry,
  who: string,
  whom: string,
  self: boolean,
  direct: boolean,
): string {
  switch (entry.kind) {
    case 'created':
      return direct
        ? texts.system.createdDirect
        : texts.system.created(who, entry.body.title ?? '');
    case 'settings':
      if (entry.body.title !== undefined) return texts.system.renamed(who, entry.body.title);
      return texts.system.history(who, entry.body.history === 'all');
    case 'member': {
      const change = entry.body.changes[0];
      if (!change || change.role === null)
        return self ? texts.system.left(who) : texts.system.removed(who, whom);
      if (self) return texts.system.joined(who);
      return change.role === 'member' || change.since === entry.seq
        ? texts.system.added(who, whom)
        : texts.system.role(who, whom, texts.rolePhrase[change.role]);
    }
  }
}
