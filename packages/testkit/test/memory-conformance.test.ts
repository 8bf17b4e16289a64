/** The memory store keeps the port's promises: the same suite that PostgreSQL passes. */
import { PRODUCTION_POLICY } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { createMemoryStore } from "@skep/testkit";
import { storeConformance } from "@skep/testkit/vitest";

storeConformance("memory", async () => {
  const store = createMemoryStore({ clock: systemClock(), policy: PRODUCTION_POLICY });
  return { store, close: () => store.close() };
});
