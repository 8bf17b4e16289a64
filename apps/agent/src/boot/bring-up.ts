/**
 * One member of a stage: starts what of it does not run, and resolves once it is healthy. Invariants: only what the journal
 * says was applied is started, from the spec it kept, if that still has its hash; what runs is left alone, under whatever
 * labels; nothing is pulled and nothing is stopped. A member is a deployment by its exact name (defect 1-8).
 */
import { DriverError, type AbortSignalLike, type ComponentSpec, type ComponentState, type StageHealth, type WorkloadLabels } from "@skep/core";
import { allowanceProblems, type AllowanceDeps } from "../executor/check-allowances.ts";
import { isAlive, startLevels, type Seen } from "../executor/plan.ts";
import type { PlacementEntry } from "../journal/records.ts";
import { probeMember, type ProbeDeps } from "./probe-member.ts";

export interface BringUpDeps extends AllowanceDeps, ProbeDeps {
  readonly hash: (value: object) => string;
  /** What runs here by the last job that succeeded, as the journal has it. */
  readonly applied: () => readonly PlacementEntry[];
}

const UP: readonly ComponentState[] = ["running", "exited"];

/** What waiting cannot heal and no repetition turns round, unless the master says something new. */
export class AwaitsMaster extends Error {}

/** Rejects with what is wrong, in words; soon after `signal` at the latest if the driver keeps its contract. */
export async function bringUp(name: string, health: StageHealth, deps: BringUpDeps, signal: AbortSignalLike): Promise<void> {
  const entries = entriesOf(name, deps);
  await Promise.all(entries.map(async (entry) => {
    await requireStartable(entry, deps);
    await startPlacement(entry, health, deps, signal);
    if (health.kind === "ports" || health.kind === "probe") await probeMember(entry, health, deps, signal);
  }));
}

/** The same judgement without starting anything: what a boot went on without may have been mended by the master. Rejects when it is not healthy. */
export async function judge(name: string, health: StageHealth, deps: ProbeDeps & Pick<BringUpDeps, "applied">, signal: AbortSignalLike): Promise<void> {
  const entries = deps.applied().filter((entry) => entry.deployment === name && entry.desired === "running");
  if (entries.length === 0) throw new AwaitsMaster("nothing of it is to run on this host");
  for (const entry of entries) {
    const seen = await deps.eyesOf(entry.spec.driver).placement(entry.placementId, "all");
    const down = entry.spec.components.filter((component) => !seen.some((item) => item.component.labels.component === component.name && UP.includes(item.component.state)));
    if (down.length > 0) throw new DriverError("probe_failed", `not running: ${down.map((component) => component.name).join(", ")}`);
    if (health.kind === "ports" || health.kind === "probe") await probeMember(entry, health, deps, signal);
  }
}

function entriesOf(name: string, { applied, hash }: BringUpDeps): PlacementEntry[] {
  const entries = applied().filter((entry) => entry.deployment === name);
  if (entries.length === 0) throw new AwaitsMaster(`no deployment of this name has been deployed on this host`);
  for (const entry of entries) {
    if (entry.desired === "stopped") throw new AwaitsMaster("it is stopped on request, and a boot does not start what an operator stopped");
    if (hash(entry.spec) !== entry.specHash) throw new AwaitsMaster("the spec this host kept of it does not have its hash any more; deploy it again");
  }
  return entries;
}

async function requireStartable(entry: PlacementEntry, deps: BringUpDeps): Promise<void> {
  deps.eyesOf(entry.spec.driver).driver(entry.spec.driver);
  const problems = await allowanceProblems(entry.spec, deps);
  if (problems.length > 0) throw new DriverError("spec_refused", problems.map((problem) => problem.message).join("; "));
}

async function startPlacement(entry: PlacementEntry, health: StageHealth, deps: BringUpDeps, signal: AbortSignalLike): Promise<void> {
  const eyes = deps.eyesOf(entry.spec.driver);
  const driver = eyes.driver(entry.spec.driver);
  const { placementId, deployment, jobId, generation, epoch, spec } = entry;
  const needed = new Set(spec.components.flatMap((component) => component.depends_on));
  let ensured = false;
  for (const level of startLevels(spec.components)) {
    const seen = await eyes.placement(placementId, "all");
    const here = level.map((component) => ({ component, present: presentOf(component, entry, seen) }));
    if (here.every(({ present }) => present.kind === "done")) continue;
    if (!ensured) await driver.shared?.ensure({ placementId, deployment, jobId, generation, epoch }, spec, signal);
    ensured = true;
    const waiting: { component: ComponentSpec; labels: WorkloadLabels; driver: Seen["driver"] }[] = [];
    for (const { component, present } of here) {
      if (signal.aborted) throw new DriverError("aborted", `${component.name} was not started before the stage's deadline`);
      if (present.kind === "done") continue;
      if (present.kind === "missing") {
        for (const stale of present.stale) await stale.driver.remove(stale.component.labels);
        await driver.start(present.labels, component, signal);
      }
      const judged = health.kind === "own" || needed.has(component.name) || component.run_to_completion === true;
      if (judged) waiting.push({ component, labels: present.labels, driver: present.kind === "alive" ? present.driver : driver });
    }
    await Promise.all(waiting.map((item) => item.driver.wait(item.labels, item.component, signal)));
  }
}

type Present =
  | { readonly kind: "alive"; readonly labels: WorkloadLabels; readonly driver: Seen["driver"] }
  /** It ran to its good end: a migration is not run again because the host was started again. */
  | { readonly kind: "done" }
  | { readonly kind: "missing"; readonly labels: WorkloadLabels; /** Dead, of another generation, and in the way. */ readonly stale: readonly Seen[] };

function presentOf(component: ComponentSpec, entry: PlacementEntry, seen: readonly Seen[]): Present {
  const here = seen.filter((item) => item.component.labels.component === component.name);
  // Of another generation, too: what runs serves, and replacing it is the master's business.
  const alive = here.find(isAlive);
  if (alive !== undefined) return { kind: "alive", labels: alive.component.labels, driver: alive.driver };
  const componentHash = entry.hashes[component.name] ?? "";
  const same = here.find((item) => item.component.labels.componentHash === componentHash);
  if (same?.component.state === "exited" && component.run_to_completion === true) return { kind: "done" };
  const labels: WorkloadLabels = same?.component.labels ?? {
    placementId: entry.placementId, deployment: entry.deployment, component: component.name, jobId: entry.jobId,
    generation: entry.generation, epoch: entry.epoch, componentHash,
  };
  return { kind: "missing", labels, stale: here.filter((item) => item !== same) };
}
