/**
 * Errors of the HTTP api as one typed class.
 *
 * Owns: the table of codes. Never does: fetch. Talks to: nobody. Start reading at: `ApiError`.
 */
export const PROBLEM_CODES = [
  'invalid_fields',
  'bad_request',
  'bad_credentials',
  'unauthorized',
  'csrf',
  'forbidden',
  'registration_closed',
  'disabled',
  'not_found',
  'conflict',
  'username_taken',
  'too_large',
  'rate_limited',
  'unavailable',
  'unknown',
  'internal',
] as const;
/** `unreachable`: no answer at all. `unexpected`: an answer that is none of the api's. */
export type ProblemCode = (typeof PROBLEM_CODES)[number] | 'unreachable' | 'unexpected';

export class ApiError extends Error {
  readonly code: ProblemCode;
  /** HTTP status; 0 = no answer. */
  readonly status: number;
  /** What is wrong with each field, for forms. */
  readonly fields: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | null;

  constructor(
    code: ProblemCode,
    status: number,
    message: string,
    fields: Readonly<Record<string, string>> = {},
    retryAfterMs: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
    this.fields = fields;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return ['rate_limited', 'unavailable', 'unknown', 'internal', 'unreachable'].includes(
      this.code,
    );
  }
}

/** Reads the problem document of a failed answer. Never throws. */
export async function problemOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const doc = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const known = PROBLEM_CODES.find((code) => code === doc.code);
  const code = known ?? (response.status >= 500 ? 'unavailable' : 'unexpected');
  const text = [doc.detail, doc.title].find((part) => typeof part === 'string' && part !== '');
  const fields = typeof doc.fields === 'object' && doc.fields !== null ? doc.fields : {};
  const header = Number(response.headers.get('retry-after'));
  const retryAfter =
    typeof doc.retry_after_ms === 'number'
      ? doc.retry_after_ms
      : Number.isFinite(header) && header > 0
        ? header * 1000
        : null;
  return new ApiError(
    code,
    response.status,
    typeof text === 'string' ? text : `HTTP ${response.status}`,
    fields as Record<string, string>,
    retryAfter,
  );
}
