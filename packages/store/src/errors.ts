/**
 * What may leave this package when a statement fails. Drivers put bound values into messages and details, and values
 * are token hashes and people's data: only the SQLSTATE and the names of the constraint and table get out.
 */
import { SkepError } from "@skep/core";

/** PostgreSQL refused a statement for a reason that is not the connection's: a bug of ours, or a broken invariant. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  /** Five characters, or "unknown" when it did not come from the server. */
  readonly sqlState: string;
  readonly constraint: string | undefined;
  readonly table: string | undefined;
  constructor(what: string, facts: { sqlState: string; constraint?: string | undefined; table?: string | undefined }) {
    super(what);
    this.sqlState = facts.sqlState;
    this.constraint = facts.constraint;
    this.table = facts.table;
  }
}

/**
 * 08 connection · 28 and 3D not let in · 53 resources · 57P server going away · 57014 statement_timeout · 55P03 lock_timeout · 25P03 idle in
 * transaction · 25P04 transaction too long · 40 serialization and deadlock: nothing was done and the same call may succeed.
 */
const UNAVAILABLE = /^(?:08|28|3D|53|57P|40)|^(?:57014|55P03|25P03|25P04)$/;
const NODE_CODES = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "EAI_AGAIN", "ENOENT"]);
/** The driver's own words, which carry no code. */
const DRIVER_WORDS =
  /^(?:Connection terminated|Client has encountered a connection error|Query read timeout|timeout exceeded when trying to connect|timeout expired|Cannot use a pool after calling end|The server does not support SSL|Client was closed|Connection ended)/i;

/** Errors made of a lost connection: what became of it must be known after its own error is gone. */
const lostConnections = new WeakSet<Error>();

/** SkepError `database_unavailable`, `overloaded`, or a StoreError; never the driver's own error. */
export function toStoreError(error: unknown): Error {
  if (error instanceof SkepError || error instanceof StoreError) return error;
  const translated = translate(error);
  if (isConnectionLost(error)) lostConnections.add(translated);
  return translated;
}

function translate(error: unknown): Error {
  const root = rootOf(error);
  const code = typeof root.code === "string" ? root.code : undefined;
  const fromServer = code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !NODE_CODES.has(code);
  if (fromServer) {
    const constraint = typeof root.constraint === "string" ? root.constraint : undefined;
    const table = typeof root.table === "string" ? root.table : undefined;
    if (UNAVAILABLE.test(code)) return new SkepError("database_unavailable", `PostgreSQL could not serve this (SQLSTATE ${code})`, { retryAfterMs: 1_000 });
    const where = [table, constraint].filter((part) => part !== undefined).join(".");
    return new StoreError(`PostgreSQL refused a statement: SQLSTATE ${code}${where === "" ? "" : ` on ${where}`}`, { sqlState: code, constraint, table });
  }
  if (code !== undefined && NODE_CODES.has(code)) return new SkepError("database_unavailable", `PostgreSQL cannot be reached (${code})`, { retryAfterMs: 1_000 });
  const message = root instanceof Error ? root.message : "";
  if (DRIVER_WORDS.test(message)) return new SkepError("database_unavailable", `PostgreSQL cannot be reached (${firstWords(message)})`, { retryAfterMs: 1_000 });
  // A caller's own error, thrown inside a transaction, is the caller's.
  return error instanceof Error && !isDrizzle(error) ? error : new StoreError("a statement failed before it reached PostgreSQL", { sqlState: "unknown" });
}

/** True when the connection cannot be trusted with another statement. */
export const isConnectionLost = (error: unknown): boolean => {
  if (error instanceof Error && lostConnections.has(error)) return true;
  const root = rootOf(error);
  const code = typeof root.code === "string" ? root.code : "";
  return NODE_CODES.has(code) || /^(?:08|57P|25P03|25P04)/.test(code) || (root instanceof Error && DRIVER_WORDS.test(root.message));
};

type Facts = Partial<Record<"code" | "constraint" | "table", unknown>>;

/** Drizzle wraps the driver's error, whose own cause may wrap the socket's. */
function rootOf(error: unknown): Facts {
  let root: unknown = error;
  for (let depth = 0; depth < 5 && root instanceof Error; depth++) {
    if (typeof (root as Facts).code === "string" || root.cause === undefined) break;
    root = root.cause;
  }
  if (root instanceof AggregateError && root.errors.length > 0 && (root as Facts).code === undefined) return root.errors[0] as Facts;
  return (root ?? {}) as Facts;
}

const isDrizzle = (error: Error): boolean => error.name === "DrizzleQueryError" || error.name === "DrizzleError" || error.message.startsWith("Failed query");
const firstWords = (message: string): string => message.split(/[:\n]/)[0]!.slice(0, 80);

/** The statement lost against another for this unique index. */
export const isUniqueViolation = (error: unknown, constraint: string): boolean => {
  const root = rootOf(error);
  return root.code === "23505" && root.constraint === constraint;
};
