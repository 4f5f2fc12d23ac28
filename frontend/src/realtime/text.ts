/** What of a message can be refused before it is numbered. Source: PROTOCOL.md R19; the same checks as the server's. */
import type { PublishOutcome } from './facade';
import type { MessageBody } from './wire';

export const TEXT_BYTES_MAX = 16_384;
export const ATTACHMENTS_MAX = 10;

type Reason = Extract<PublishOutcome, { ok: false }>['reason'];

export function refusalOf({ text, attachments = [] }: MessageBody): Reason | null {
  if (attachments.length > ATTACHMENTS_MAX) return 'too_many_attachments';
  if (attachments.length === 0 && text.trim() === '') return 'empty';
  if (/[^\P{Cc}\n\t]/u.test(text)) return 'control_characters';
  return new TextEncoder().encode(text).length > TEXT_BYTES_MAX ? 'too_long' : null;
}
