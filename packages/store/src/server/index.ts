/** PostgreSQL servers as child processes; apart from the drizzle store so that a supervisor need not load it. */
export { startEmbeddedPostgres, startSystemPostgres } from "./start-postgres.ts";
export type { RunningPostgres, StartPostgresOptions } from "./start-postgres.ts";
export type { ServerExit } from "./server-process.ts";
export type { PrivilegeMode } from "./privileges.ts";
export type { DeathWatchMode } from "./death-watch.ts";
export { runSql, withConnection } from "./run-sql.ts";
export type { RunSql } from "./run-sql.ts";
