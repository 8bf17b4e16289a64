/** A database for the tests of one file or `describe` block, dropped at its end. */
import { afterAll, beforeAll, inject } from "vitest";
import { tempDatabase } from "../temp-database.ts";
import type { TempDatabase, TempDatabaseOptions } from "../temp-database.ts";
import "./postgres-setup.ts";

/** Call it in the block's body; read `url` inside tests and hooks only. `server` default "embedded". */
export function useDatabase(options: Omit<TempDatabaseOptions, "url"> & { readonly server?: "embedded" | "system" } = {}): { readonly url: string } {
  let database: TempDatabase | undefined;
  beforeAll(async () => {
    const url = inject("postgres")[options.server ?? "embedded"];
    if (url === null) throw new Error("this machine has no PostgreSQL of its own: guard the block with describe.skipIf(inject('postgres').system === null)");
    database = await tempDatabase({ url, migrated: options.migrated ?? true });
  });
  afterAll(() => database?.drop());
  return {
    get url() {
      if (database === undefined) throw new Error("the database exists only while tests run");
      return database.url;
    },
  };
}
