/** The engine's events as wake-ups: what they say is not believed, only that something happened. Reconnects, and wakes once after it. */
import type { AbortSignalLike, Clock, Logger } from "@skep/core";
import type { Engine } from "./engine.ts";
import { ownFilter } from "./container-labels.ts";
import { jsonLines } from "./frames.ts";

/** Everything but what our own probes cause every second. */
const KINDS = ["start", "die", "oom", "pause", "unpause", "destroy", "update", "rename"];
/** A quiet host is not a dead engine: the stream is opened anew. */
const IDLE_MS = 300_000;
/** Doubles up to the cap. Shorter: a sick engine is hammered; longer: its return is noticed late. */
const FIRST_RETRY_MS = 250;
const RETRY_CAP_MS = 10_000;

export interface EventDeps {
  readonly engine: Engine;
  /** undefined while the agent has no identity. */
  readonly owner: () => string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly closing: AbortSignalLike;
  readonly wake: () => void;
}

export async function watchEvents({ engine, owner, clock, logger, closing, wake }: EventDeps): Promise<void> {
  let retryMs = FIRST_RETRY_MS;
  while (!closing.aborted) {
    const host = owner();
    try {
      if (host !== undefined) {
        const stream = await engine.events({ ...ownFilter(host), type: ["container"], event: KINDS }, IDLE_MS, closing);
        // Whatever happened while nobody listened.
        wake();
        retryMs = FIRST_RETRY_MS;
        for await (const _event of jsonLines(stream)) wake();
      }
    } catch (err) {
      if (!closing.aborted) logger.debug({ err }, "the engine's events are not heard for a while");
    }
    await clock.sleep(retryMs, closing);
    retryMs = Math.min(RETRY_CAP_MS, retryMs * 2);
  }
}
