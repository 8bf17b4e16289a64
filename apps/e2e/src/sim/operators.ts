/**
 * Operators: random requests with an Idempotency-Key each, sent again under the same key until something definite is
 * heard. What they were promised is kept, for the checker.
 */
import { SkepError, below, type LifecycleRow, type Rng } from "@skep/core";
import { specHash } from "@skep/runtime";
import { INTERVAL_MS, type Cluster } from "./cluster.ts";
import { NoAnswer } from "./network.ts";
import { createProcess, type SimProcess } from "./process.ts";
import type { World } from "./world.ts";

type Control = NonNullable<ReturnType<Cluster["masters"][number]["running"]>>["control"];
type DeployRequest = Parameters<Control["deploy"]>[0];
type Spec = DeployRequest["spec"];
type RolloutWish = NonNullable<DeployRequest["rollout"]>;
type Context = Parameters<Control["deploy"]>[1];

export interface Promised {
  /** Names the logical request: every retry carries it, and so does the audit entry of what was accepted. */
  readonly requestId: string;
  readonly what: string;
  /** Bodies of every 2xx that was heard. */
  readonly replies: unknown[];
  sent: boolean;
}

export interface Operators {
  readonly promised: readonly Promised[];
  /** Rows an operator gave up on, or asked to be dropped by force: their outcome is a decision, not a finding. */
  readonly decided: ReadonlySet<string>;
  start(untilMs: number): void;
}

const CLIENT_TIMEOUT_MS = 12_000;
const MAX_TRIES = 8;

export function createOperators(world: World, cluster: Cluster, deployments: number): Operators {
  const rng = world.rng("operators");
  const drains = world.rng("drains");
  const process: SimProcess = createProcess(world, "cli", { skewMs: 0, diesHere: () => false });
  const promised: Promised[] = [];
  const decided = new Set<string>();
  const names = Array.from({ length: deployments }, (_, index) => `app-${index + 1}`);
  // Some operators interfere all the time, others ask and wait: only then does anything reach its deadline.
  const patience = rng.float();
  let count = 0;

  async function request(what: string, run: (control: Control, context: Context) => Promise<{ body: unknown }>, body: unknown): Promise<void> {
    const entry: Promised = { requestId: `op-${++count}`, what, replies: [], sent: true };
    promised.push(entry);
    const context: Context = { actor: "token:sim", requestId: entry.requestId, idempotency: { scope: `sim ${what.split(" ")[0]}`, key: entry.requestId, bodyHash: specHash(body) } };
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const master = cluster.masters[below(rng, cluster.masters.length)]!;
      try {
        const reply = await cluster.network.call({
          from: { name: "cli", process }, to: { name: master.name, process: () => master.running()?.process }, what: `${entry.requestId} ${what}`,
          timeoutMs: CLIENT_TIMEOUT_MS, handle: async () => run(master.running()!.control, context),
        });
        entry.replies.push(reply.body);
        world.trace(`${entry.requestId} ${what}: accepted`);
        // Now and then an answer is lost behind the client's back, and a person presses the button again.
        if (rng.float() < 0.7) return;
      } catch (error) {
        if (!(error instanceof NoAnswer) && !(error instanceof SkepError)) throw error;
        const final = error instanceof SkepError && !error.retryable;
        world.trace(`${entry.requestId} ${what}: ${error instanceof SkepError ? error.code : "no answer"}`);
        if (final) return;
        // What any person would do who is told that something else is still open; some people just wait.
        if (error instanceof SkepError && error.code === "operation_in_progress" && rng.float() > patience) void cancelOne((row) => what.endsWith(` ${row.deployment}`));
      }
      await world.sleep(1_000 + below(rng, 45_000));
    }
  }

  async function cancelOne(fits: (row: LifecycleRow) => boolean): Promise<void> {
    const row = pick([...cluster.database.committed.lifecycle.values()].filter((one) => one.completedAt === undefined && fits(one)));
    if (row !== undefined) await request(`cancel ${row.id}`, (control, context) => control.cancel(row.id, context), {});
  }

  const pick = <T>(list: readonly T[]): T | undefined => list[below(rng, list.length)];
  /** Careful and careless, with deadlines short enough to be met in a run. */
  const rollout = (): { rollout?: RolloutWish } =>
    rng.float() < 0.4 ? {} : {
      rollout: {
        max_parallel: pick([1, 2, "25%", "50%", "100%"])!, min_healthy_s: pick([0, 0, 10, 45])!, progress_deadline_s: pick([120, 240, 600])!, canary: pick([0, 0, 1])!,
        auto_promote: rng.float() < 0.8, auto_rollback: rng.float() < 0.8,
      },
    };
  const timeoutS = (): number | undefined => pick([undefined, undefined, 60, 120, 300]);

  function spec(): Spec {
    const components = ["a", "b", "c"].slice(0, 1 + below(rng, 3)).map((name, index) => ({
      name, command: [], env: { V: String(below(rng, 1_000)) }, ports: [], restart: { policy: "always" as const },
      depends_on: index > 0 && rng.float() < 0.5 ? ["a"] : [], stop_timeout_s: 10,
      noop: { start_ms: below(rng, rng.float() < 0.3 ? 40_000 : 2_000), ...(rng.float() < 0.06 ? { fail: { at: pick(["prepare", "start", "stop"] as const)!, message: "told to fail" } } : {}) },
    }));
    return { driver: "noop", components, ...(rng.float() < 0.3 ? { stateful: true } : {}) };
  }

  async function act(): Promise<void> {
    const name = pick(names)!;
    const dice = rng.float();
    const open = [...cluster.database.committed.lifecycle.values()].filter((row) => row.completedAt === undefined);
    const timeout = timeoutS();
    const late = timeout === undefined ? {} : { timeout_s: timeout };
    if (dice < 0.3) {
      const hosts = cluster.hosts.map((host) => host.id).filter(() => rng.float() < 0.6);
      const order = rng.float() < 0.4 ? { strategy: "ordered" as const, hosts, replicas: 1 + below(rng, Math.max(1, hosts.length)) } : drains.float() < 0.5 ? { replicas: Math.max(1, hosts.length) } : { hosts };
      const body = {
        name, spec: spec(), placement: hosts.length === 0 ? { replicas: 1 } : order, reconcile: rng.float() < 0.7 ? ("auto" as const) : ("report" as const),
        replace: rng.float() < 0.8, dry_run: false, ...late, ...rollout(),
      };
      return request(`deploy ${name}`, (control, context) => control.deploy(structuredClone(body), context), body);
    }
    if (dice < 0.55) {
      const body = rng.float() < 0.7 ? { env: { V: String(below(rng, 1_000)) }, dry_run: false, ...late, ...rollout() } : { desired: pick(["running", "stopped"] as const)!, dry_run: false, ...late };
      return request(`mutate ${name}`, (control, context) => control.mutate(name, body, context), body);
    }
    if (dice < 0.62) {
      const word = pick(["pause", "resume", "resume", "abort"] as const)!;
      return request(`${word} ${name}`, (control, context) => (word === "pause" ? control.pauseRollout(name, context) : word === "resume" ? control.resumeRollout(name, context) : control.abortRollout(name, context)), { word });
    }
    if (dice < 0.7) return request(`redeploy ${name}`, (control, context) => control.redeploy(name, late, context), late);
    if (dice < 0.76) {
      const body = { generation: 1 + below(rng, 5), ...late };
      return request(`rollback ${name}`, (control, context) => control.rollback(name, body, context), body);
    }
    if (dice < 0.86) {
      const body = { force: rng.float() < 0.2, volumes: false, ...late };
      return request(`teardown ${name}`, (control, context) => control.teardown(name, body, context), body).then(() => noteForced(name, body.force));
    }
    const row = pick(open);
    if (row === undefined || rng.float() < patience) return;
    if (row.status === "lost" && rng.float() < 0.15) {
      decided.add(row.id);
      return request(`resolve ${row.id}`, (control, context) => control.resolveLost(row.id, undefined, context), {});
    }
    return cancelOne((one) => one.id === row.id);
  }

  /** Now and then a host is emptied, evened out or taken back into use: with dice of its own, so that the other acts stay as they are. */
  async function empty(): Promise<void> {
    const host = cluster.hosts[below(drains, cluster.hosts.length)]!;
    const dice = drains.float();
    if (dice < 0.45) {
      // Taken back in the middle, often: that is what can go wrong.
      if (drains.float() < 0.5) world.after(exponential(drains, INTERVAL_MS), () => void cancelMoves().catch((error: unknown) => {
        throw error;
      }));
      return request(`drain ${host.name}`, (control, context) => control.drainHost(host.id, { stop_pinned: dice < 0.2, dry_run: false }, context), { dice });
    }
    if (dice < 0.6) {
      const hostId = [...cluster.database.committed.drains.values()].find((one) => one.completedAt === undefined)?.hostId ?? host.id;
      return request(`cancel-drain ${hostId}`, (control, context) => control.cancelDrain(hostId, context), { dice });
    }
    if (dice < 0.75) return request("rebalance fleet", (control, context) => control.rebalance({ dry_run: false }, context), { dice });
    const drain = [...cluster.database.committed.drains.values()].find((one) => one.hostId === host.id && one.completedAt === undefined);
    if (drain === undefined) await cluster.database.connect().transaction((tx) => tx.updateHost(host.id, { schedulable: true }));
  }

  async function cancelMoves(): Promise<void> {
    for (const move of [...cluster.database.committed.moves.values()].filter((one) => one.completedAt === undefined)) {
      await request(`cancel-move ${move.id}`, (control, context) => control.cancelMove(move.id, context), {});
    }
  }

  /** Force may have given rows up: they failed as `host_lost` by this request. */
  function noteForced(name: string, forced: boolean): void {
    if (!forced) return;
    for (const row of cluster.database.committed.lifecycle.values()) {
      if (row.deployment === name && row.failureCode === "host_lost" && (row.because ?? "").includes("force")) decided.add(row.id);
    }
  }

  return {
    promised, decided,
    start: (untilMs) => {
      const meanMs = INTERVAL_MS * (0.7 + rng.float() * 2.5);
      const lastMs = untilMs * (0.4 + 0.6 * rng.float());
      const next = (): void => {
        if (world.nowMs() >= lastMs) return;
        void act().catch((error: unknown) => {
          throw error;
        });
        world.after(exponential(rng, meanMs), next);
      };
      world.after(2_000, next);
      const nextDrain = (): void => {
        if (world.nowMs() >= lastMs) return;
        void empty().catch((error: unknown) => {
          throw error;
        });
        world.after(exponential(drains, 6 * INTERVAL_MS), nextDrain);
      };
      world.after(4 * INTERVAL_MS, nextDrain);
    },
  };
}

export const exponential = (rng: Rng, meanMs: number): number => -Math.log(1 - rng.float()) * meanMs;
