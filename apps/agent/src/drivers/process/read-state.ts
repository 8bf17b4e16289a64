/** The state file as found. Absent, damaged and good are different facts: taking damaged for absent would start a second copy. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { RUN_STATE_VERSION, STATE_FILE } from "../../runner/run-state.ts";
import type { RunState } from "../../runner/run-state.ts";
import { isMissing } from "../driver-errors.ts";
import type { ComponentDir } from "../component-dirs.ts";

export type StateFile = { readonly kind: "absent" } | { readonly kind: "damaged"; readonly error: string } | { readonly kind: "good"; readonly state: RunState };

/** Rejects when the disk cannot be read: then nothing may be concluded. */
export async function readState(dir: ComponentDir): Promise<StateFile> {
  let text: string;
  try {
    text = await readFile(join(dir.path, STATE_FILE), "utf8");
  } catch (error) {
    if (isMissing(error)) return { kind: "absent" };
    throw error;
  }
  try {
    const state = JSON.parse(text) as RunState;
    if (state.version !== RUN_STATE_VERSION) return { kind: "damaged", error: `the state file has version ${String(state.version)}, not ${String(RUN_STATE_VERSION)}` };
    const ours = state.labels.placementId === dir.placementId && state.labels.component === dir.component && Number.isInteger(state.runner.pid) && typeof state.state === "string";
    return ours ? { kind: "good", state } : { kind: "damaged", error: "the state file is of another component" };
  } catch {
    return { kind: "damaged", error: "the state file is not readable as JSON" };
  }
}
