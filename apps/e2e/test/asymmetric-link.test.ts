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
/** A minute in production. Nothing here is about how long it is, only that a trial goes out after it. */
const COOL_DOWN_MS = 3_000;
let agent: Agent;
const site = useFleet("asymmetric-link", { intervalMs: INTERVAL_MS, masterEnv: island === undefined ? {} : { SKEP_BREAKER_COOLDOWN_MS: String(COOL_DOWN_MS), SKEP_SWARM_LISTEN: island.outside, SKEP_ADVERTISE: island.outside } }, async (fleet) => {
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
const becomes = (what: string, holds: (now: Health) => boolean, timeoutMs = 90_000): Promise<Health> =>
  eventually(async (status) => {
    const now = await health();
    status(JSON.stringify([now.status, now.reachability, now.breaker, now.reasons.map((reason) => reason.code)]));
    return holds(now) ? now : undefined;
  }, { what, timeoutMs });
interface Told {
  readonly kind: string;
  readonly message: string;
}
const told = async (): Promise<Told[]> =>
  (await runSql(site.fleet.databaseUrl, "SELECT kind, message FROM events WHERE kind LIKE 'host.%' OR kind LIKE 'breaker.%' ORDER BY id"))
    .map((row) => ({ kind: String(row["kind"]), message: String(row["message"]) })).filter(({ kind }) => kind !== "host.registered");
/**
 * A beat that this machine held up makes a host suspect until the next one, link or no link. That is told in pairs, with
 * nothing but its lateness as the reason; anything else of liveness is not filtered out.
 */
const withoutLateBeats = (events: readonly Told[]): string[] =>
  events.filter(({ kind, message }, index) => {
    const isLate = kind === "host.suspect" && / is suspect: no heartbeat for [\d.]+ s$/.test(message);
    const isBack = kind === "host.active" && events.slice(0, index).findLast((one) => /^host\.(suspect|unreachable|active)$/.test(one.kind))?.kind === "host.suspect";
    return !isLate && !isBack;
  }).map(({ kind }) => kind);
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

  const unreachable = await becomes("it is called unreachable, and is heard", (now) => now.reachability.state === "unreachable" && now.status === "active");
  expect(unreachable.reachability.last_error).toMatch(/no answer within|connection failed|not asked/);
  expect(unreachable.reasons.find((reason) => reason.code === "network_unreachable")!.next).toContain("firewall");

  // Whoever asks counts: no need to wait for the prober's next two.
  await Promise.all([1, 2].map(() => site.fleet.api.post("/v1/hosts/check", { hosts: ["bee-1"] })));
  await becomes("the circuit opens", (now) => now.breaker.state !== "closed");
  const starts = readStarts(agent.stateDir).length;
  const [row] = await ended(site.fleet.api, await accepted(site.fleet.api, "/v1/deployments", { name: "meanwhile", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "report" }));
  expect(row!.status).toBe("succeeded");
  expect(readStarts(agent.stateDir).length).toBe(starts + 1);
  // A trial may be out just now (half open): what matters is that nothing has closed it.
  const after = await becomes("it is heard", (now) => now.status === "active");
  expect(after.reachability.state).toBe("unreachable");
  expect(["open", "half_open"]).toContain(after.breaker.state);
  expect(after.reasons.map((reason) => reason.code)).toEqual(expect.arrayContaining(["network_unreachable", "circuit_open"]));

  island!.heal();
  await becomes("it heals by itself", (now) => now.reachability.state === "reachable" && now.breaker.state === "closed" && now.health === "healthy");
  // Each edge once, and not a word of liveness. A breaker's edge is written down after it is in effect.
  const edges = await eventually(async () => {
    const events = withoutLateBeats((await told()).slice(before.length));
    return events.includes("breaker.closed") && events.includes("breaker.opened") ? events : undefined;
  }, { what: "the circuit's edges are in the events", timeoutMs: 30_000 });
  expect(edges.sort()).toEqual(["breaker.closed", "breaker.opened", "host.network_reachable", "host.network_unreachable"]);
});

test.skipIf(island === undefined)("the host can be asked and is not heard: suspect and reachable, and it heals", { timeout: 300_000 }, async () => {
  const before = await told();
  island!.dropFromHere(swarmPort());
  const silent = await becomes("it is silent, and the reason says that it answers", (now) => now.reasons.some((reason) => reason.code === "heartbeat_lost_but_reachable") && now.reachability.consecutive_failures === 0);
  expect([silent.reachability.state, silent.breaker.state]).toEqual(["reachable", "closed"]);
  // Past the hard limit liveness gives it up by its silence, and the other dimension still does not take its word.
  const given = await becomes("it is past the hard limit", (now) => now.status === "unreachable");
  expect([given.reachability.state, given.reasons.some((reason) => reason.code === "network_unreachable")]).toEqual(["reachable", false]);

  island!.heal();
  await becomes("it is heard again", (now) => now.status === "active" && now.health === "healthy");
  // As long as it answered it was suspect and no more; only the hard limit ended that, which this test may have been too slow to see.
  const events = (await told()).slice(before.length, before.length + 3);
  expect(events.map(({ kind }) => kind)).toEqual(["host.suspect", "host.unreachable", "host.active"]);
  expect(events[1]!.message).toContain("past the hard limit");
});
