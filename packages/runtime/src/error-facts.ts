/**
 * An error as it may be logged. Database errors carry the values of the statement in their message (drizzle), their
 * detail ("Key (token_hash)=(…) already exists") and their data exceptions; none of that is copied, only names.
 */

/** Copied when present: what happened and where, never the values it happened with. */
const FACTS = ["code", "errno", "syscall", "address", "port", "path", "status", "severity", "schema", "table", "column", "constraint", "routine"];
const MAX_CAUSES = 6;
const MAX_STACK_CHARS = 4_000;

export const isError = (value: unknown): value is Error => value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";

/** type, message, stack, the facts above, and the causes below it. */
export function errorFacts(error: Error, depth = 0): Record<string, unknown> {
  const message = safeMessage(error);
  const facts: Record<string, unknown> = { type: error.name === "Error" ? error.constructor.name : error.name, message };
  const source = error as unknown as Record<string, unknown>;
  for (const key of FACTS) {
    const value = source[key];
    if (typeof value === "string" || typeof value === "number") facts[key] = value;
  }
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  if (frames.length > 0) facts["stack"] = frames.map((line) => line.trim()).join("\n").slice(0, MAX_STACK_CHARS);
  if (depth < MAX_CAUSES) {
    if (isError(error.cause)) facts["cause"] = errorFacts(error.cause, depth + 1);
    else if (typeof error.cause === "string") facts["cause"] = error.cause;
    if (error instanceof AggregateError) facts["errors"] = error.errors.slice(0, MAX_CAUSES).map((one) => (isError(one) ? errorFacts(one, depth + 1) : typeof one));
  }
  return facts;
}

function safeMessage(error: Error): string {
  const { message } = error;
  // Drizzle: "Failed query: <sql>\nparams: <values>". The SQL holds placeholders only.
  const bound = message.search(/\n\s*params:/);
  if (bound >= 0) return message.slice(0, bound);
  // PostgreSQL's class 22, data exceptions: `invalid input syntax for type uuid: "<value>"`.
  const { code } = error as { code?: unknown };
  if (typeof code === "string" && /^22...$/.test(code)) return message.replace(/".*"/s, '"[value]"');
  return message;
}
