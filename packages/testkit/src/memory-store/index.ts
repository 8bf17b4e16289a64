/** The Store port in memory: for the simulator, and for tests that need a ledger and no server. */
import type { Store } from "@skep/core";
import { createMemoryDatabase, type MemoryDatabaseOptions, type SessionOptions } from "./database.ts";

export { createMemoryDatabase } from "./database.ts";
export type { MemoryDatabase, MemoryDatabaseOptions, MemorySession, SessionOptions, StorePoint } from "./database.ts";
export { ConstraintViolation } from "./state.ts";

/** One session on a database of its own. Database time is the given clock's. */
export function createMemoryStore(options: MemoryDatabaseOptions & SessionOptions): Store {
  return createMemoryDatabase(options).connect(options);
}
