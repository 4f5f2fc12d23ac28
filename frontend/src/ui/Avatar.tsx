import { Users } from 'lucide-react';

/** Hues whose white initials keep AA contrast in both themes. */
const COLOURS = [
  '#a8443b',
  '#9a5410',
  '#4f6a8f',
  '#3d7a2a',
  '#12786a',
  '#1d6f9c',
  '#3c5fc4',
  '#6a4fc0',
  '#95429f',
  '#a83a6c',
];

type Props = { id: string; name: string; size?: number; group?: boolean; online?: boolean };

export function Avatar({ id, name, size = 44, group = false, online = false }: Props) {
  return (
    <span
      className="avatar"
      style={{ width: size, height: size, background: colourOf(id), fontSize: size * 0.38 }}
      aria-hidden
    >
      {group && initials(name) === '' ? <Users size={size * 0.46} /> : initials(name) || '?'}
      {online ? <span className="avatar__dot" /> : null}
    </span>
  );
}

export function colourOf(id: string): string {
  let hash = 2_166_136_261;
  for (const char of id) hash = Math.imul(hash ^ char.charCodeAt(0), 16_777_619);
  // Without this the last digit of an id would decide nearly alone.
  hash = Math.imul(hash ^ (hash >>> 15), 2_246_822_519) >>> 16;
  return COLOURS[hash % COLOURS.length] ?? '#12786a';
}

function initials(name: string): string {
  // Emoji and signs are no initials; a name of nothing else keeps its first one.
  const all = name.trim().split(/\s+/).filter(Boolean);
  const spoken = all.filter((word) => /^[\p{L}\p{N}]/u.test(word));
  const words = spoken.length > 0 ? spoken : all.slice(0, 1);
  // One of the wide letters fills the picture, and is a word.
  if (/^[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u.test(words[0] ?? ''))
    return [...(words[0] ?? '')][0] ?? '';
  const first = [...(words[0] ?? '')][0] ?? '';
  const last = words.length > 1 ? ([...(words[words.length - 1] ?? '')][0] ?? '') : '';
  return (first + last).toUpperCase();
}
