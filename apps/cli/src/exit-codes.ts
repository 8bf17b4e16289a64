/**
 * What the exit code of every command means. Scripts branch on these, so they are a promise: docs/cli.md lists them
 * and a test holds every code of the error registry to one of them.
 */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  auth: 4,
  conflict: 5,
  failed: 6,
  /** The wait ended on rows that are `lost`: nobody knows, and a person may have to decide. */
  undecided: 7,
  timedOut: 8,
  degraded: 9,
  changes: 10,
  unreachable: 11,
  detached: 130,
} as const;

/**
 * `skep exec` ends as its command does, so that our own failures need codes that commands hardly use: those of
 * `timeout`, `env` and `docker exec`.
 */
export const EXEC_EXIT = { timedOut: 124, ours: 125, notExecutable: 126, notFound: 127, signal: 128 } as const;
export type ExecExitCode = (typeof EXEC_EXIT)[keyof typeof EXEC_EXIT];

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The master answered, but not for want of trying again. A host that is away is not the master being away. */
const AWAY = new Set(["overloaded", "database_unavailable", "rate_limited", "request_timeout", "too_many_streams", "too_many_execs"]);

/** The exit code of a refusal by the API. Unknown codes of a newer master are judged by their status. */
export function exitCodeOf(status: number, code: string): ExitCode {
  if (code === "unauthenticated" || code === "forbidden" || status === 401) return EXIT.auth;
  if (AWAY.has(code)) return EXIT.unreachable;
  if (code === "no_healthy_endpoint") return EXIT.degraded;
  // Neither can come of what a person typed: the programs differ in version, or this one has a fault.
  if (code === "route_not_found" || code === "idempotency_key_reused") return EXIT.unexpected;
  if (status === 404) return EXIT.notFound;
  if (status === 403 || status === 409 || status === 410 || status === 412) return EXIT.conflict;
  if (status === 400 || status === 413 || status === 415 || status === 422) return EXIT.usage;
  // A proxy that finds no master behind it. With a code of ours a 503 may be about a host.
  if (status === 502 || status === 504 || code === "http_503") return EXIT.unreachable;
  return EXIT.unexpected;
}
