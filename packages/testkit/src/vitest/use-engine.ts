/**
 * The run's shared Docker Engine for the tests of one file. Others use it at the same time, so only look for what
 * carries your own labels, and for faults of the daemon itself take one of your own: `startEngine`.
 */
import { beforeAll, inject } from "vitest";
import { callEngine } from "../engine/engine-api.ts";
import { createEngineKit } from "../engine/engine-kit.ts";
import type { EngineKit } from "../engine/engine-kit.ts";
import "./engine-setup.ts";

/** Guard the block with `describe.skipIf(noEngine())`; the set-up has already said why, loudly. */
export const noEngine = (): boolean => "missing" in inject("engine");

/** Starting the daemon on a busy machine; only a bound for failure. */
const START_LIMIT_MS = 240_000;

/** Call it in the block's body; use what it returns inside tests and hooks only. */
export function useEngine(): EngineKit {
  let kit: EngineKit | undefined;
  beforeAll(async () => {
    const engine = inject("engine");
    if ("missing" in engine) return;
    const { status, body } = await callEngine(engine.control, "POST", "/", { timeoutMs: START_LIMIT_MS });
    if (status !== 200) throw new Error(`the test engine could not be started: ${body.toString()}`);
    kit = createEngineKit(body.toString(), engine.busybox);
  }, START_LIMIT_MS);
  const started = (): EngineKit => {
    if (kit === undefined) throw new Error("the engine exists only while tests run, and not where it is skipped");
    return kit;
  };
  return {
    get socketPath() {
      return started().socketPath;
    },
    image: (...args) => started().image(...args),
    ask: (...args) => started().ask(...args),
    call: (...args) => started().call(...args),
    labelled: (...args) => started().labelled(...args),
    removeEverything: (...args) => started().removeEverything(...args),
  };
}
