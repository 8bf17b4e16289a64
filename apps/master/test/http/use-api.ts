/** The operator API on a database of its own, for the tests of one file. */
import type { Clock, Store } from "@skep/core";
import { createLogger, systemClock, systemRng } from "@skep/runtime";
import { createPostgresStore } from "@skep/store";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll } from "vitest";
import { startHarness, type Harness, type HarnessOptions } from "./harness.ts";

export function openStore(url: string, clock: Clock = systemClock()): Promise<Store> {
  return createPostgresStore({ url, clock, rng: systemRng(), logger: createLogger({ name: "test-store", level: "silent", destination: "stderr" }), applicationName: "operator-api-test" });
}

/** Read its members inside tests only. */
export function useApi(options: Omit<HarnessOptions, "store"> = {}): Harness & { readonly url: string } {
  const database = useDatabase();
  let harness: Harness | undefined;
  let store: Store | undefined;
  beforeAll(async () => {
    store = await openStore(database.url);
    harness = await startHarness({ ...options, store });
  });
  afterAll(async () => {
    await harness?.close();
    await store?.close();
  });
  return new Proxy({} as Harness & { readonly url: string }, {
    get: (_target, key) => {
      if (key === "url") return database.url;
      if (harness === undefined) throw new Error("the API exists only while tests run");
      return harness[key as keyof Harness];
    },
  });
}

export const NOOP = { driver: "noop", components: [{ name: "app" }] } as const;
