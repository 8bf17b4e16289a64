/** What a command must satisfy beyond its schema, and what it would change. */
import { SkepError, type Driver, type Spec } from "@skep/core";
import { specProblems, type DryRunReply, type PendingJob } from "@skep/protocol";
import type { PlacementEntry } from "../journal/records.ts";
import { allowanceProblems, type AllowanceDeps } from "./check-allowances.ts";
import { hasDrifted, planComponents, wantedHashes, type PlannedComponent, type Seen } from "./plan.ts";

interface CheckDeps extends AllowanceDeps {
  readonly drivers: readonly Driver[];
  readonly hash: (value: object) => string;
}

/** Throws spec_hash_mismatch, spec_refused or unknown_component: refusals that no repetition can turn round. */
export async function checkCommand(command: PendingJob, applied: PlacementEntry | undefined, deps: CheckDeps): Promise<void> {
  const { drivers, hash } = deps;
  if (command.operation === "teardown") return;
  const found = hash(command.spec);
  if (found !== command.spec_hash) throw new SkepError("spec_hash_mismatch", `the spec hashes to ${found}, the command says ${command.spec_hash}`);
  const driver = drivers.find((one) => one.name === command.spec.driver);
  if (driver === undefined) throw new SkepError("spec_refused", `this host has no ${command.spec.driver} driver`);
  if (command.spec.update_order === "start_first" && driver.overlaps !== true) throw new SkepError("spec_refused", `the ${driver.name} driver cannot run old and new of one component at once: use update_order stop_first`);
  const problems = specProblems(command.spec);
  if (problems.length > 0) throw new SkepError("spec_refused", problems.map((problem) => problem.message).join("; ").slice(0, 500));
  const forbidden = await allowanceProblems(command.spec, deps);
  if (forbidden.length > 0) {
    throw new SkepError("spec_refused", forbidden.map((problem) => problem.message).join("; ").slice(0, 500), {
      errors: forbidden.map(({ path, message }) => ({ pointer: path.map((part) => `/${part}`).join(""), message })),
    });
  }
  if (command.operation === "mutate") {
    const names = new Set([...command.spec.components, ...(applied?.spec.components ?? [])].map((component) => component.name));
    const unknown = (command.components ?? []).filter((name) => !names.has(name));
    if (unknown.length > 0) throw new SkepError("unknown_component", `there is no component ${unknown.join(", ")}; there are: ${[...names].join(", ")}`);
  }
}

/** The same plan the job would make, against the same sight. Writes nothing. */
export async function dryRunOf(command: PendingJob, applied: PlacementEntry | undefined, deps: CheckDeps, seen: readonly Seen[]): Promise<DryRunReply> {
  const removals = [...new Set(seen.map((item) => item.component.labels.component))].map((component) => ({ component, action: "remove" as const }));
  if (command.operation === "teardown") return { status: "dry_run", plan: removals, warnings: teardownWarnings(command, applied, seen) };
  if (command.operation === "mutate" && applied === undefined) throw new SkepError("no_active_deployment", "nothing is deployed on this placement");
  await checkCommand(command, applied, deps);
  const only = command.operation === "mutate" ? command.components : undefined;
  const plan = planComponents(command.spec, wantedHashes(command.spec, applied, only, deps.hash), seen, only);
  const warnings: string[] = [];
  if (command.desired === "stopped") warnings.push("desired is stopped: running components are stopped, none is started");
  if (command.operation === "mutate" && applied !== undefined && applied.generation !== command.base_generation) warnings.push(`the host is at generation ${applied.generation}, not ${command.base_generation}`);
  for (const item of plan) {
    const changed = item.old.find((old) => hasDrifted(old) && old.component.labels.componentHash === item.hash);
    if (changed !== undefined) warnings.push(`${item.name} was changed behind our back: ${changed.component.drift!.join(", ")}`);
    const leftover = item.old.find((old) => applied !== undefined && old.component.labels.componentHash !== applied.hashes[item.name]);
    if (leftover !== undefined) warnings.push(`${item.name}: a leftover of generation ${leftover.component.labels.generation} is removed`);
  }
  warnings.push(...sharedWarnings(command.spec, applied));
  return { status: "dry_run", plan: plan.map((item: PlannedComponent) => ({ component: item.name, action: item.action })), warnings };
}

function teardownWarnings(command: Extract<PendingJob, { operation: "teardown" }>, applied: PlacementEntry | undefined, seen: readonly Seen[]): string[] {
  if (applied === undefined && seen.length === 0) return ["nothing is deployed there"];
  const volumes = ownNames(applied?.spec.volumes);
  if (volumes.length === 0) return [];
  return [command.remove_volumes === true ? `volumes are removed with their data: ${volumes.join(", ")}` : `volumes are kept: ${volumes.join(", ")}`];
}

/** What the new spec leaves out: networks go, data stays. */
function sharedWarnings(spec: Spec, applied: PlacementEntry | undefined): string[] {
  const leftOut = (before: readonly string[], now: object | undefined): string[] => before.filter((name) => !Object.hasOwn(now ?? {}, name));
  const networks = leftOut(ownNames(applied?.spec.networks), spec.networks);
  const volumes = leftOut(ownNames(applied?.spec.volumes), spec.volumes);
  return [
    ...(networks.length === 0 ? [] : [`networks are removed: ${networks.join(", ")}`]),
    ...(volumes.length === 0 ? [] : [`volumes are not used any more, and kept: ${volumes.join(", ")}`]),
  ];
}

/** External ones are not ours to make or remove. */
const ownNames = (named: Readonly<Record<string, { readonly external?: string | undefined }>> | undefined): string[] =>
  Object.entries(named ?? {}).filter(([, one]) => one.external === undefined).map(([name]) => name);
