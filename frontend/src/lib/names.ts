/** How people and conversations are called. Owns: the wording. Never does: fetch (useUser does). */
import { useUser } from '../api/queries/users';
import type { Conversation, UserCard } from '../api/types';
import { texts } from './texts';

export function nameOf(
  card: Pick<UserCard, 'username' | 'display_name'> | null | undefined,
): string {
  return card?.display_name || card?.username || texts.deletedAccount;
}

export function titleOf(conversation: Conversation, me: string): string {
  if (conversation.kind === 'group') return conversation.title || texts.untitled;
  if (isSelf(conversation, me)) return texts.list.notesToSelf;
  return nameOf(conversation.other);
}

export function isSelf(conversation: Conversation, me: string): boolean {
  return conversation.kind === 'direct' && (!conversation.other || conversation.other.id === me);
}

/** The name of a user by id; '…' while it is not known. */
export function useName(id: string | null): string {
  const card = useUser(id);
  if (id === null) return '';
  return card.data === undefined ? '…' : nameOf(card.data);
}

/** What a failed request means to a person. */
export function explain(failure: unknown): string {
  const code =
    typeof failure === 'object' && failure !== null && 'code' in failure
      ? String(failure.code)
      : '';
  if (code === 'unreachable') return texts.offlineError;
  return texts.errors[code] ?? texts.somethingWrong;
}
