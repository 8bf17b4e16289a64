/** What a command must satisfy beyond its schema, and what it would change. */
import { SkepError, type Driver } from "@skep/core";
import { specProblems, type DryRunReply, type PendingJob } from "@skep/protocol";
import type { PlacementEntry } from "../journal/records.ts";
import { allowanceProblems, type AllowanceDeps } from "./check-allowances.ts";
import { planComponents, wantedHashes, type PlannedComponent, type Seen } from "./plan.ts";

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
  if (!drivers.some((driver) => driver.name === command.spec.driver)) throw new SkepError("spec_refused", `this host has no ${command.spec.driver} driver`);
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
  if (command.operation === "teardown") return { status: "dry_run", plan: removals, warnings: applied === undefined && seen.length === 0 ? ["nothing is deployed there"] : [] };
  if (command.operation === "mutate" && applied === undefined) throw new SkepError("no_active_deployment", "nothing is deployed on this placement");
  await checkCommand(command, applied, deps);
  const only = command.operation === "mutate" ? command.components : undefined;
  const plan = planComponents(command.spec, wantedHashes(command.spec, applied, only, deps.hash), seen, only);
  const warnings: string[] = [];
  if (command.desired === "stopped") warnings.push("desired is stopped: running components are stopped, none is started");
  if (command.operation === "mutate" && applied !== undefined && applied.generation !== command.base_generation) warnings.push(`the host is at generation ${applied.generation}, not ${command.base_generation}`);
  return { status: "dry_run", plan: plan.map((item: PlannedComponent) => ({ component: item.name, action: item.action })), warnings };
}
