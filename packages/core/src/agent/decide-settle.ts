/**
 * What an agent says, after a restart, of a job it finds unfinished in its journal. It looks before it speaks and
 * never runs anything a second time by itself (rulings 12): the master decides on a new attempt.
 */
import type { Operation } from "../lifecycle/states.ts";
import type { ComponentState } from "./driver.ts";

export interface UnfinishedJob {
  readonly operation: Operation;
  /** The journal says that the first effect may have happened. */
  readonly begun: boolean;
  readonly desired: "running" | "stopped";
  /** Component name → the hash that the job wanted running. */
  readonly wanted: Readonly<Record<string, string>>;
  /** The components that it was allowed to touch; absent = all. The others are not its doing, whatever they are. */
  readonly only?: readonly string[] | undefined;
  /** Of those it wanted: the ones that have done their work when they ended with 0. */
  readonly toCompletion?: readonly string[] | undefined;
}

export type Settlement =
  | { readonly kind: "run" }
  | { readonly kind: "succeeded"; readonly because: string }
  | { readonly kind: "interrupted"; readonly because: string };

export interface SeenComponent {
  readonly component: string;
  readonly componentHash: string;
  readonly state: ComponentState;
}

const ALIVE: readonly ComponentState[] = ["running", "starting", "unhealthy", "backoff"];

export function decideSettle(job: UnfinishedJob, seen: readonly SeenComponent[]): Settlement {
  if (!job.begun) return { kind: "run" };
  const mine = (name: string): boolean => job.only === undefined || job.only.includes(name);
  const alive = seen.filter((component) => ALIVE.includes(component.state) && mine(component.component));
  if (job.operation === "teardown" || job.desired === "stopped") {
    return alive.length === 0
      ? { kind: "succeeded", because: "nothing of it is left running" }
      : { kind: "interrupted", because: `still running: ${alive.map((c) => c.component).join(", ")}` };
  }
  const names = Object.keys(job.wanted).filter(mine);
  // `running` is the driver's word for alive with a passing probe; anything less is not what the job promised.
  const goal = (name: string): ComponentState => (job.toCompletion?.includes(name) === true ? "exited" : "running");
  const missing = names.filter((name) => !seen.some((c) => c.component === name && c.componentHash === job.wanted[name] && c.state === goal(name)));
  // Under another hash: the predecessor of a start-first change, which had not given way yet.
  const extra = alive.filter((c) => job.wanted[c.component] !== c.componentHash);
  if (missing.length === 0 && extra.length === 0) return { kind: "succeeded", because: "everything it wanted is running" };
  const words = [
    missing.length > 0 ? `not running as wanted: ${missing.join(", ")}` : "",
    extra.length > 0 ? `should be gone: ${extra.map((c) => c.component).join(", ")}` : "",
  ];
  return { kind: "interrupted", because: words.filter((text) => text !== "").join("; ") };
}
