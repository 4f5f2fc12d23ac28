/** Times as people read them. Owns: formatting. Never does: read the clock (`now` is passed in). */
import { texts } from './texts';

const DAY_MS = 86_400_000;
const clock = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});
const weekday = new Intl.DateTimeFormat('en', { weekday: 'short' });
const dayMonth = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short' });
const longDay = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long' });
const longDate = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat('en', {
  dateStyle: 'medium',
  timeStyle: 'short',
  hourCycle: 'h23',
});

export function clockTime(ts: number): string {
  return clock.format(ts);
}

export function fullTime(ts: number): string {
  return full.format(ts);
}

/** For lists: 14:05 today, Tue within a week, else 3 Mar or a full date. */
export function shortTime(ts: number, now: number): string {
  const days = daysBetween(ts, now);
  if (days === 0) return clock.format(ts);
  if (days === 1) return texts.timeline.yesterday;
  if (days < 7) return weekday.format(ts);
  return sameYear(ts, now) ? dayMonth.format(ts) : longDate.format(ts);
}

/** For day dividers. */
export function dayName(ts: number, now: number): string {
  const days = daysBetween(ts, now);
  if (days === 0) return texts.timeline.today;
  if (days === 1) return texts.timeline.yesterday;
  return sameYear(ts, now) ? longDay.format(ts) : longDate.format(ts);
}

/** For sentences such as "Last seen …". */
export function spokenTime(ts: number, now: number): string {
  const minutes = Math.floor((now - ts) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return texts.plural(minutes, 'minute ago', 'minutes ago');
  const days = daysBetween(ts, now);
  if (days === 0) return `today at ${clock.format(ts)}`;
  if (days === 1) return `yesterday at ${clock.format(ts)}`;
  return `on ${(sameYear(ts, now) ? dayMonth : longDate).format(ts)}`;
}

/** For sentences such as "until …": 14:05 today, else with the day. */
export function spokenFuture(ts: number, now: number): string {
  return sameDay(ts, now) ? clock.format(ts) : `${weekday.format(ts)} ${clock.format(ts)}`;
}

/** A day as a date field has it: 2026-03-04. */
export function dayInput(ts: number): string {
  const date = new Date(ts);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** When the day of a date field begins here; null if there is no such day. */
export function dayOf(input: string): number | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(input);
  if (!match) return null;
  const start = new Date(Number(match[1]), Number(match[2]) - 1, Number(match[3])).getTime();
  return dayInput(start) === input ? start : null;
}

export function sameDay(a: number, b: number): boolean {
  return startOfDay(a) === startOfDay(b);
}

function startOfDay(ts: number): number {
  return new Date(ts).setHours(0, 0, 0, 0);
}

function daysBetween(ts: number, now: number): number {
  return Math.max(0, Math.round((startOfDay(now) - startOfDay(ts)) / DAY_MS));
}

function sameYear(a: number, b: number): boolean {
  return new Date(a).getFullYear() === new Date(b).getFullYear();
}
