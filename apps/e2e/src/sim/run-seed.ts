/** One seed: a fleet, a while of chaos, a calm, a verdict. */
import { below, type HostId, type Policy } from "@skep/core";
import { createChecker } from "./checker.ts";
import { INTERVAL_MS, TIMINGS, createCluster, type Cluster } from "./cluster.ts";
import { playFaults } from "./faults.ts";
import { createOperators } from "./operators.ts";
import { createTruth, type Violation } from "./truth.ts";
import { createWorld } from "./world.ts";

export interface SeedResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** Bugs rather than faults: exceptions that nobody expected. */
  readonly errors: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly rows: number;
  /** How often the ledger told of each thing: `lifecycle.lost`, `host.unreachable`, … A run in which nothing happened proves nothing. */
  readonly told: Readonly<Record<string, number>>;
  readonly virtualMs: number;
}

export interface RunOptions {
  readonly policy: Policy;
  readonly keepTrace?: boolean;
  /** Breaks production's code or the world in a way that no rule of the policy is for: the checks' own red cases. */
  readonly sabotage?: Sabotage | undefined;
  /** A violation that ends the run: what comes after it could only show it again. */
  readonly wanted?: ((violation: Violation) => boolean) | undefined;
}

/** `no_warm_up`: masters judge silence the moment they start · `frozen_eyes`: agents report what they once saw. */
export type Sabotage = "no_warm_up" | "frozen_eyes";

/** How long the calm lasts before the verdict, in intervals: time for reconcile to stop and everything to be heard. */
const CALM_INTERVALS = 8;
const QUIET_INTERVALS = 6;

export async function runSeed(seed: number, { policy, keepTrace = false, sabotage, wanted }: RunOptions): Promise<SeedResult> {
  const world = createWorld(seed, { keepTrace });
  const shape = world.rng("shape");
  const truth = createTruth(world);
  const cluster = createCluster({
    world, policy, truth, timings: sabotage === "no_warm_up" ? { ...TIMINGS, warmUpMs: 0 } : TIMINGS, hosts: 2 + below(shape, 3), masters: 1 + below(shape, 2), deathShare: shape.float() < 0.3 ? 0 : 0.0015 * shape.float(),
  });
  await seedLedger(cluster);
  const operators = createOperators(world, cluster, 1 + below(shape, 3));
  const checker = createChecker(world, cluster, truth, operators);
  // The checker sees every commit that changed a row or told an event, like any other listener.
  cluster.database.connect().onSignal(checker.look);
  cluster.network.onDrop((from, to) => {
    for (const host of cluster.hosts) if (host.name === from || host.name === to) truth.dropped(host.id);
  });
  for (const master of cluster.masters) master.start();
  for (const host of cluster.hosts) host.start();

  const chaosMs = INTERVAL_MS * (40 + below(shape, 60));
  operators.start(chaosMs);
  playFaults(world, cluster, truth, chaosMs);
  if (sabotage === "frozen_eyes") world.after(chaosMs / 2, () => cluster.hosts.forEach((host) => host.workloads.freezeEyes()));
  let judged = 0;
  let isFound = false;
  const found = (): boolean => {
    for (; wanted !== undefined && !isFound && judged < truth.violations.length; judged++) isFound = wanted(truth.violations[judged]!);
    return isFound;
  };
  await world.play(chaosMs, found);

  if (!found()) {
    cluster.calm();
    for (const host of cluster.hosts) for (const cut of [`${host.name}>*`, `*>${host.name}`]) truth.linkUp(host.id, cut);
    await world.play(chaosMs + CALM_INTERVALS * INTERVAL_MS, found);
    cluster.setReconcile(false);
    await world.play(chaosMs + (CALM_INTERVALS + QUIET_INTERVALS) * INTERVAL_MS, found);
  }
  if (!found()) checker.finish(chaosMs);
  const told: Record<string, number> = {};
  for (const { event } of cluster.database.committed.events.values()) told[event.kind] = (told[event.kind] ?? 0) + 1;
  return {
    told,
    seed, violations: truth.violations, errors: truth.errors, traceHash: world.traceHash(), trace: world.lines,
    rows: [...cluster.database.committed.lifecycle.values()].length, virtualMs: world.nowMs(),
  };
}

/** Hosts as enrolment leaves them: known, and not heard of yet. */
async function seedLedger(cluster: Cluster): Promise<void> {
  await cluster.database.connect().transaction(async (tx) => {
    for (const host of cluster.hosts) {
      await tx.insertHost({ id: host.id as HostId, name: host.name, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 8444, allowedCidr: undefined });
      await tx.casHostStatus(host.id, "pending", "enrolled", "enrolled");
    }
  });
}
