/**
 * Completion of @names and :shortcodes: while typing. Owns: finding what is being typed, and putting the choice in.
 * Never does: know the document. Pure.
 */
import { emojiOf, findEmoji } from '../../lib/emoji';

export type Person = { id: string; username: string; display_name: string };
export type Choice = { key: string; insert: string; label: string; hint: string; person?: Person };
export type Completion = { from: number; to: number; choices: Choice[] };

const CHOICES_MAX = 6;
const SHORTCODE_MIN = 2;

export function completionAt(
  text: string,
  caret: number,
  people: readonly Person[],
): Completion | null {
  const before = text.slice(0, caret);
  const mention = /(?:^|[\s(])@([\w.-]{0,32})$/.exec(before);
  if (mention) {
    const typed = (mention[1] ?? '').toLowerCase();
    const choices = people
      .filter((person) => person.username && matches(person, typed))
      .slice(0, CHOICES_MAX)
      .map((person) => ({
        key: person.id,
        insert: `@${person.username} `,
        label: person.display_name || person.username,
        hint: `@${person.username}`,
        person,
      }));
    return choices.length > 0 ? { from: caret - typed.length - 1, to: caret, choices } : null;
  }
  const code = /(?:^|\s):([a-z0-9_+-]{1,32})$/.exec(before);
  const typed = code?.[1] ?? '';
  if (typed.length < SHORTCODE_MIN) return null;
  const choices = findEmoji(typed, CHOICES_MAX).map((one) => ({
    key: one.name,
    insert: `${one.emoji} `,
    label: one.emoji,
    hint: `:${one.name}:`,
  }));
  return choices.length > 0 ? { from: caret - typed.length - 1, to: caret, choices } : null;
}

function matches(person: Person, typed: string): boolean {
  return (
    person.username.toLowerCase().startsWith(typed) ||
    person.display_name
      .toLowerCase()
      .split(/\s+/)
      .some((word) => word.startsWith(typed))
  );
}

export function insertAt(
  text: string,
  from: number,
  to: number,
  insert: string,
): { text: string; caret: number } {
  return { text: text.slice(0, from) + insert + text.slice(to), caret: from + insert.length };
}

/** `:tada:` becomes 🎉 when its second colon is typed. */
export function replaceShortcode(
  text: string,
  caret: number,
): { text: string; caret: number } | null {
  const match = /(?:^|\s):([a-z0-9_+-]{1,32}):$/.exec(text.slice(0, caret));
  const emoji = emojiOf(match?.[1] ?? '');
  return match && emoji ? insertAt(text, caret - (match[1] ?? '').length - 2, caret, emoji) : null;
}
