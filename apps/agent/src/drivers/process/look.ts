/**
 * What is really there of one component: the state file says what to look for, /proc and the runner's socket say
 * whether it is so. Every verb starts with a look, so nothing depends on what this process remembers.
 */
import { readdir } from "node:fs/promises";
import { hasEnded } from "../../runner/run-state.ts";
import type { ProcessId, RunState } from "../../runner/run-state.ts";
import { isAlive } from "../../runner/proc.ts";
import { keyOf } from "../labels.ts";
import type { ComponentDir } from "../component-dirs.ts";
import { runIdOf } from "./links.ts";
import { readState } from "./read-state.ts";
import type { RunnerLink } from "./runner-link.ts";

export type Look =
  | { readonly kind: "none" }
  /** The file cannot be understood; `processes` carry the component's labels. */
  | { readonly kind: "damaged"; readonly error: string; readonly processes: readonly ProcessId[] }
  | { readonly kind: "ended"; readonly state: RunState }
  /** From before the host's last boot. */
  | { readonly kind: "rebooted"; readonly state: RunState }
  | { readonly kind: "supervised"; readonly state: RunState; readonly link: RunnerLink }
  /** The runner lives and does not answer; `state` is what it wrote last. */
  | { readonly kind: "hung"; readonly state: RunState; readonly childAlive: boolean }
  /** The runner is dead, the workload is not. */
  | { readonly kind: "orphaned"; readonly state: RunState; readonly processes: readonly ProcessId[] }
  /** Neither lives, and nobody wrote how it ended. */
  | { readonly kind: "lost"; readonly state: RunState };

export interface LookDeps {
  readonly hostBootId: string;
  /** Every labelled process of the host by key. Called only when a runner is missing. */
  readonly scan: () => ReadonlyMap<string, readonly ProcessId[]>;
  /** Rejects when the runner does not answer in time. */
  readonly linkTo: (dir: ComponentDir, runId: string) => Promise<RunnerLink>;
  readonly askTimeoutMs: number;
}

export async function lookAt(dir: ComponentDir, deps: LookDeps): Promise<Look> {
  // Again when a runner is dead or silent: one that ended after the file was read has written a newer file.
  let asked: string | undefined;
  for (let deadBefore = false; ; ) {
    const file = await readState(dir);
    if (file.kind === "absent") return { kind: "none" };
    if (file.kind === "damaged") return (await askAnyRunner(dir, deps)) ?? { ...file, processes: deps.scan().get(keyOf(dir)) ?? [] };
    const { state } = file;
    if (hasEnded(state)) return { kind: "ended", state };
    if (state.hostBootId !== deps.hostBootId) return { kind: "rebooted", state };
    if (isAlive(state.runner)) {
      if (asked === state.runId) return { kind: "hung", state, childAlive: state.child !== null && isAlive(state.child) };
      asked = state.runId;
      try {
        const link = await deps.linkTo(dir, state.runId);
        return { kind: "supervised", state: await link.status(deps.askTimeoutMs), link };
      } catch {
        // Refused, silent or just gone: the newest file and /proc decide which.
      }
    } else if (!deadBefore) {
      deadBefore = true;
    } else {
      const processes = survivors(state, deps);
      return processes.length > 0 ? { kind: "orphaned", state, processes } : { kind: "lost", state };
    }
  }
}

/** A runner still knows what a damaged file no longer says, and writes it anew at its next change. */
async function askAnyRunner(dir: ComponentDir, deps: LookDeps): Promise<Look | undefined> {
  for (const name of await readdir(dir.path)) {
    const runId = runIdOf(name);
    if (runId === undefined) continue;
    try {
      const link = await deps.linkTo(dir, runId);
      return { kind: "supervised", state: await link.status(deps.askTimeoutMs), link };
    } catch {
      // a socket left behind by a runner that is gone
    }
  }
  return undefined;
}

/** By recorded identity or by labels: a runner killed right after its spawn had no time to record anything. */
function survivors(state: RunState, deps: LookDeps): readonly ProcessId[] {
  const labelled = deps.scan().get(keyOf(state.labels)) ?? [];
  const { child } = state;
  return child !== null && isAlive(child) && !labelled.some(({ pid }) => pid === child.pid) ? [child, ...labelled] : labelled;
}
