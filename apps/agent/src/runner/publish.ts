/**
 * The state file as the runner keeps it. A write that fails (a full disk) is tried again until it succeeds and never
 * ends the workload; until then the socket still tells the truth.
 */
import type { Clock } from "@skep/core";
import { writeDurable } from "./durable-file.ts";
import type { RunState } from "./run-state.ts";

/** Too short hammers a full disk; too long leaves the file behind for no reason. */
const RETRY_MS = 1_000;

export interface StatePublisher {
  publish(state: RunState): void;
  /** Resolves once the newest state is durable. A runner that left earlier would leave a lie behind. */
  settled(): Promise<void>;
}

export function createPublisher(path: string, clock: Clock, announce: (state: RunState) => void): StatePublisher {
  let newest: RunState | undefined;
  let retrying: Promise<void> | undefined;

  const tryWrite = (): boolean => {
    try {
      if (newest !== undefined) writeDurable(path, JSON.stringify(newest));
      return true;
    } catch {
      return false;
    }
  };
  const retry = async (): Promise<void> => {
    do await clock.sleep(RETRY_MS);
    while (!tryWrite());
    retrying = undefined;
  };
  const publish = (state: RunState): void => {
    newest = state;
    if (!tryWrite()) retrying ??= retry();
    announce(state);
  };
  return { publish, settled: async () => retrying };
}
