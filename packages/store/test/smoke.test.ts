import { useDatabase } from "@skep/testkit/vitest";
import { expect, test } from "vitest";
import { openStore } from "./open-store.ts";

const database = useDatabase();
test("opens", async () => {
  const store = await openStore(database.url);
  expect(await store.now()).toBeGreaterThan(1e12);
  expect(await store.fleetCounts()).toMatchObject({ hosts: { active: 0 } });
  await store.close();
});
