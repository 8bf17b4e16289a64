/**
 * A host comes back from an old backup: its journal and its workloads are of the past. The master's floors reach it
 * before any command does, what is old is refused, and the present is put back.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { specHash } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { authorityOf, forgeMaster } from "../src/harness/forge.ts";
import { succeeds } from "../src/harness/operations.ts";
import { ask, type PlainAnswer } from "../src/harness/plain-https.ts";
import { readStarts, startedTwice } from "../src/harness/starts.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

let agent: Agent;
const site = useFleet("restored-agent", { intervalMs: 500 }, async (fleet) => {
  agent = await fleet.addAgent("bee-1");
});

test("old generations are refused after a restore, and the wanted one runs again", async () => {
  const { api } = site.fleet;
  const authority = await authorityOf(site.fleet);
  const credential = forgeMaster(authority);
  const backup = join(site.fleet.dir, "backup");
  const mutate = (round: number): Promise<unknown> => succeeds(api, "/v1/deployments/relic/mutate", { env: { ROUND: String(round) } });
  const [first] = await succeeds(api, "/v1/deployments", { name: "relic", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "auto" });
  await mutate(2);
  await agent.kill();
  cpSync(agent.stateDir, backup, { recursive: true });
  await agent.start();
  for (const round of [3, 4, 5]) await mutate(round);
  const startedBefore = readStarts(agent.stateDir);
  expect(startedTwice(startedBefore)).toEqual([]);
  await agent.kill();
  rmSync(agent.stateDir, { recursive: true });
  cpSync(backup, agent.stateDir, { recursive: true });
  const spec = { driver: "noop" as const, components: [{ name: "c0", command: [], env: { ROUND: "0" }, ports: [], restart: { policy: "always" as const }, depends_on: [], stop_timeout_s: 1 }] };
  const deliver = (generation: number, placement = first!.placement_id): Promise<PlainAnswer> => ask(`${agent.agentUrl()}/deploy`, {
    job_id: crypto.randomUUID(), placement_id: placement, deployment: "relic", epoch: 1, generation, timeout_s: 60, spec, spec_hash: specHash(spec),
  }, { caPem: authority.certPem, credential });
  await agent.start();
  // Its own journal knows of generation 2 only: the floor is the master's.
  for (const generation of [1, 2, 3, 4]) expect(await deliver(generation)).toMatchObject({ status: 409, json: { code: "stale_generation" } });
  await eventually(async (status) => {
    const [placement] = (await api.get("/v1/placements?deployment=relic")).items;
    status(JSON.stringify(placement));
    return placement.observed?.state === "running" && placement.observed.generation === 5;
  }, { what: "generation 5 runs again", timeoutMs: 60_000 });
  expect(readStarts(agent.stateDir).every((start) => [1, 2, 5].includes(start.generation))).toBe(true);
  // The control: where there is no floor, generation 1 is as good as any.
  expect((await deliver(1, crypto.randomUUID())).status).toBe(202);
});
