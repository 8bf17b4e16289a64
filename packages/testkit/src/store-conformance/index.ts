/**
 * The store port's contract as tests: one suite, run over PostgreSQL and over the store in memory. What only real
 * concurrency can show is in packages/store/test; everything here is true of one client at a time.
 */
import { afterAll, beforeAll, describe } from "vitest";
import { alertRules } from "./alerts.ts";
import { beatRules } from "./beats.ts";
import { deploymentRules } from "./deployments.ts";
import { gaugeRules } from "./gauges.ts";
import { hostRules } from "./hosts.ts";
import { ledgerRules } from "./ledgers.ts";
import { lifecycleRules } from "./lifecycle.ts";
import { moveRules } from "./moves.ts";
import { passRules } from "./passes.ts";
import { reachabilityRules } from "./reachability.ts";
import { retentionRules } from "./retention.ts";
import { rolloutRules } from "./rollouts.ts";
import { serviceRules } from "./services.ts";
import { World } from "./world.ts";
import type { OpenedStore } from "./world.ts";

export type { OpenedStore } from "./world.ts";

/** Gives each group of rules an empty store of its own. */
export function storeConformance(name: string, makeStore: () => Promise<OpenedStore>): void {
  const groups = { hosts: hostRules, deployments: deploymentRules, lifecycle: lifecycleRules, beats: beatRules, passes: passRules, reachability: reachabilityRules, rollouts: rolloutRules, services: serviceRules, moves: moveRules, ledgers: ledgerRules, gauges: gaugeRules, alerts: alertRules, retention: retentionRules };
  describe(`${name} keeps the store's contract`, () => {
    for (const [noun, rules] of Object.entries(groups)) {
      describe(noun, () => {
        let opened: OpenedStore | undefined;
        let world: World | undefined;
        beforeAll(async () => {
          opened = await makeStore();
          world = new World(opened.store);
        });
        afterAll(() => opened?.close());
        rules(() => {
          if (world === undefined) throw new Error("the store exists only while tests run");
          return world;
        });
      });
    }
  });
}
