/** A store on a test database, with a silent logger. */
import { createPostgresStore } from "@skep/store";
import type { PostgresStoreOptions } from "@skep/store";
import { seededRng } from "@skep/core";
import type { Logger, Store } from "@skep/core";
import { systemClock } from "@skep/runtime";

const silence = (): void => undefined;
export const silentLogger: Logger = { debug: silence, info: silence, warn: silence, error: silence, child: () => silentLogger };

export const openStore = (url: string, options: Partial<PostgresStoreOptions> = {}): Promise<Store> =>
  createPostgresStore({ url, logger: silentLogger, clock: systemClock(), rng: seededRng(1), applicationName: "skep-test", ...options });
