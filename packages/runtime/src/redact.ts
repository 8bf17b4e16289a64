/**
 * What must never reach a log. Two nets, because each has holes: values under a secret's key are replaced at any
 * depth, and the finished line is searched for the shapes our secrets have, wherever somebody pasted them.
 */
import { errorFacts, isError } from "./error-facts.ts";

const REDACTED = "[redacted]";
/** Compared in lower case without `_` and `-`, at the key's end: `api_token` is a secret, `token_id` and a count of `tokens` are not. */
const SECRET_KEY = /(token|secrets?|passwords?|passphrase|authorization|cookie|keypem|privatekey|databaseurl)$/;
/** Deep enough for anything we log; a cycle ends here too. */
const MAX_DEPTH = 8;

/** A copy that is safe to print: secrets replaced, errors reduced to their facts. */
export function redact(value: unknown, depth = 0): unknown {
  if (value === null || typeof value !== "object") return value;
  if (isError(value)) return redact(errorFacts(value), depth + 1);
  if (depth > MAX_DEPTH) return "[too deep]";
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return value;
  const safe: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    safe[key] = isSecretKey(key) && item !== undefined && item !== null ? REDACTED : redact(item, depth + 1);
  }
  return safe;
}

const isSecretKey = (key: string): boolean => SECRET_KEY.test(key.replace(/[_-]/g, "").toLowerCase());

/** Secrets by their shape, in a line that is JSON already: nothing here may touch a quote or a backslash. */
export function redactText(line: string): string {
  return line
    .replace(/\b(sk[a-z])_[A-Za-z0-9_]{12,}/g, `$1_${REDACTED}`)
    .replace(/\b([Bb]earer|[Bb]asic) +[A-Za-z0-9._~+/=-]{8,}/g, `$1 ${REDACTED}`)
    .replace(/([a-z]+:\/\/[^\s:/@"\\]+):[^\s@/"\\]+@/g, `$1:${REDACTED}@`)
    .replace(/-----BEGIN ([A-Z ]*)PRIVATE KEY-----[^-"]*(-----END [A-Z ]*PRIVATE KEY-----)?/g, REDACTED);
}
