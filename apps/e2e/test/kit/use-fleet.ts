/** One fleet for a test file, on a database of its own; when a test fails, everybody's last words are printed. */
import { tempDatabase, tempDir, type TempDatabase } from "@skep/testkit";
import "@skep/testkit/vitest";
import { afterAll, afterEach, beforeAll, inject } from "vitest";
import { startFleet, type Fleet, type FleetOptions } from "../../src/harness/fleet.ts";

/** A process after the other, each of which takes seconds on a busy machine. */
const STARTS_WITHIN_MS = 300_000;

/** Read `fleet` inside tests and hooks only. Intervals are short, so that a test sees in seconds what a fleet sees in minutes (rulings 1). */
export function useFleet(label: string, options: Omit<FleetOptions, "dir" | "databaseUrl"> = {}, prepare?: (fleet: Fleet) => Promise<void>): { readonly fleet: Fleet } {
  let fleet: Fleet | undefined;
  let database: TempDatabase | undefined;
  beforeAll(async () => {
    database = await tempDatabase({ url: inject("postgres").embedded });
    fleet = await startFleet({ ...options, dir: tempDir(label), databaseUrl: database.url });
    await prepare?.(fleet);
  }, STARTS_WITHIN_MS);
  afterEach(({ task }) => {
    if (task.result?.state === "fail") console.error(fleet?.tails());
  });
  afterAll(async () => {
    await fleet?.stop();
    await database?.drop();
  }, STARTS_WITHIN_MS);
  return {
    get fleet() {
      if (fleet === undefined) throw new Error("the fleet exists only while tests run");
      return fleet;
    },
  };
}
