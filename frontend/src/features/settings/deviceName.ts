import { texts } from '../../lib/texts';

const BROWSERS = ['Firefox', 'Edg', 'OPR', 'Chrome', 'Safari'] as const;
const SYSTEMS = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'] as const;
const NAMES: Readonly<Record<string, string>> = { Edg: 'Edge', OPR: 'Opera', 'Mac OS': 'macOS' };

/** "Chrome, Linux" from a user agent; the order of the lists matters, since agents name their ancestors. */
export function deviceName(userAgent: string): string {
  const find = (words: readonly string[]) => words.find((word) => userAgent.includes(word));
  const parts = [find(BROWSERS), find(SYSTEMS)].filter((part) => part !== undefined);
  if (parts.length === 0) return userAgent.slice(0, 60) || texts.settings.unknownDevice;
  return parts.map((part) => NAMES[part] ?? part).join(', ');
}

export function isHandheld(userAgent: string): boolean {
  return /Android|iPhone|iPad/.test(userAgent);
}
