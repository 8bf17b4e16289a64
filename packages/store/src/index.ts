/** The store port over PostgreSQL, and its migrations. `@skep/store/server` starts servers. */
export { createPostgresStore } from "./create-postgres-store.ts";
export type { PostgresStoreOptions } from "./create-postgres-store.ts";
export { migrate, MIGRATIONS_DIR, readJournal } from "./migrate.ts";
export type { JournalEntry, MigrateOptions } from "./migrate.ts";
export { StoreError } from "./errors.ts";
