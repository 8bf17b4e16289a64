/**
 * A link that carries packets one way only, with real packets dropped between a real master and a real agent. Both
 * dimensions say what is so, neither takes the other's word, work still arrives, and everything heals by itself.
 */
import { eventually } from "@skep/testkit";
import { runSql } from "@skep/store/server";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { createIsland } from "../src/harness/island.ts";
import { accepted, ended, succeeds } from "../src/harness/operations.ts";
import { readStarts } from "../src/harness/starts.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

const island = createIsland();
// Registered before the fleet's own, and therefore run after it.
afterAll(() => island?.remove());

const INTERVAL_MS = 2_000;
/** An open circuit's cool-down, the next probe, and a busy machine. */
const COOLED_MS = 100_000;
let agent: Agent;
const site = useFleet("asymmetric-link", { intervalMs: INTERVAL_MS, masterEnv: island === undefined ? {} : { SKEP_SWARM_LISTEN: island.outside, SKEP_ADVERTISE: island.outside } }, async (fleet) => {
  if (island !== undefined) agent = await fleet.addAgent("bee-1", { under: island.under, env: { SKEP_AGENT_LISTEN: island.inside } });
});

interface Health {
  readonly health: string;
  readonly reasons: readonly { readonly code: string; readonly next: string }[];
  readonly status: string;
  readonly reachability: { readonly state: string; readonly last_error: string | null; readonly consecutive_failures: number };
  readonly breaker: { readonly state: string };
}
const health = (): Promise<Health> => site.fleet.api.get<Health>("/v1/hosts/bee-1/health");
const becomes = (what: string, holds: (now: Health) => boolean, timeoutMs = 60_000): Promise<Health> =>
  eventually(async (status) => {
    const now = await health();
    status(JSON.stringify([now.status, now.reachability, now.breaker, now.reasons.map((reason) => reason.code)]));
    return holds(now) ? now : undefined;
  }, { what, timeoutMs });
const told = async (): Promise<string[]> =>
  ((await runSql(site.fleet.databaseUrl, "SELECT kind FROM events WHERE kind LIKE 'host.%' OR kind LIKE 'breaker.%' ORDER BY id")) as { kind: string }[]).map(({ kind }) => kind).filter((kind) => kind !== "host.registered");
const agentPort = (): number => Number(new URL(agent.agentUrl()).port);
const swarmPort = (): number => Number(new URL(site.fleet.master.ready().swarm_url).port);

beforeAll(async () => {
  if (island !== undefined) await becomes("both directions are well", (now) => now.reachability.state === "reachable" && now.health === "healthy");
});

test.skipIf(island === undefined)("the host is heard and cannot be asked: active and unreachable, the circuit opens, work arrives all the same, and it heals", { timeout: 300_000 }, async () => {
  await succeeds(site.fleet.api, "/v1/deployments", { name: "before", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "report" });
  // The master has been up for long enough to conclude something.
  await becomes("the warm-up is over", (now) => !now.reasons.some((reason) => reason.code === "warming_up"));
  const before = await told();
  island!.dropToPort(agentPort());

  const unreachable = await becomes("it is called unreachable", (now) => now.reachability.state === "unreachable");
  expect(unreachable.status).toBe("active");
  expect(unreachable.reachability.last_error).toMatch(/no answer within|connection failed|not asked/);
  expect(unreachable.reasons.find((reason) => reason.code === "network_unreachable")!.next).toContain("firewall");

  await becomes("the circuit opens", (now) => now.breaker.state === "open");
  const starts = readStarts(agent.stateDir).length;
  const [row] = await ended(site.fleet.api, await accepted(site.fleet.api, "/v1/deployments", { name: "meanwhile", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "report" }));
  expect(row!.status).toBe("succeeded");
  expect(readStarts(agent.stateDir).length).toBe(starts + 1);
  const after = await health();
  expect([after.status, after.reachability.state, after.breaker.state]).toEqual(["active", "unreachable", "open"]);
  expect(after.reasons.map((reason) => reason.code)).toEqual(expect.arrayContaining(["network_unreachable", "circuit_open"]));

  island!.heal();
  await becomes("it heals by itself", (now) => now.reachability.state === "reachable" && now.breaker.state === "closed" && now.health === "healthy", COOLED_MS);
  // Each edge once, and not a word of liveness.
  expect((await told()).slice(before.length).sort()).toEqual(["breaker.closed", "breaker.opened", "host.network_reachable", "host.network_unreachable"]);
});

test.skipIf(island === undefined)("the host can be asked and is not heard: suspect and reachable, and it heals", { timeout: 120_000 }, async () => {
  const before = await told();
  island!.dropFromHere(swarmPort());
  const suspect = await becomes("it is suspect, and the reason says that it answers", (now) => now.status === "suspect" && now.reasons.some((reason) => reason.code === "heartbeat_lost_but_reachable"));
  expect([suspect.reachability.state, suspect.reachability.consecutive_failures, suspect.breaker.state]).toEqual(["reachable", 0, "closed"]);
  // Past the hard limit liveness gives it up by its silence, and the other dimension still does not take its word.
  const given = await becomes("it is past the hard limit", (now) => now.status === "unreachable");
  expect([given.reachability.state, given.reasons.some((reason) => reason.code === "network_unreachable")]).toEqual(["reachable", false]);

  island!.heal();
  await becomes("it is heard again", (now) => now.status === "active" && now.health === "healthy");
  expect((await told()).slice(before.length)).toEqual(["host.suspect", "host.unreachable", "host.active"]);
});
