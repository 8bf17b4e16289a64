/**
 * What is watched where nothing can be redrawn: printed in full each time it has changed, with the time above it.
 * Invariant: no escape sequence; what only got older has not changed.
 */
import { instant, jitter, type Instant } from "@skep/core";
import { createApi, type Api } from "../api/client.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { Session } from "../session.ts";
import { renderLine, type Line } from "../text/line.ts";
import { clockTime, LIVE_QUIET_MS, mayPass, retryPauseMs } from "./live.ts";

export interface Watched {
  readonly at: Instant;
  readonly json: unknown;
}

/** Returns when it is interrupted (130) or nobody reads any more (0). Before the first answer a master that is away is an error, as for every command. */
export async function printChanges<S extends Watched>(
  session: Session,
  { intervalMs, load, lines }: { readonly intervalMs: number; readonly load: (api: Api) => Promise<S>; readonly lines: (seen: S, columns: number | undefined, now: Instant) => readonly Line[] },
): Promise<ExitCode> {
  const { clock, json, rng, terminal } = session;
  const signal = AbortSignal.any([session.signal, terminal.gone]);
  const api = createApi({ transport: session.api.transport, clock, rng, signal, quietMs: LIVE_QUIET_MS });
  let told: string | undefined;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const seen = await load(api);
      if (failures > 0) terminal.say(`${api.transport.url} answers again`);
      failures = 0;
      // Of a day long past: an age that grows is no news, and nothing is older than that.
      const text = lines(seen, undefined, instant(0)).map((line) => renderLine(line, false)).join("\n");
      if (text !== told) {
        if (json) terminal.json(seen.json);
        else terminal.show(...(told === undefined ? [] : [""]), clockTime(seen.at), ...lines(seen, terminal.columns, seen.at));
      }
      told = text;
    } catch (error) {
      if (signal.aborted) break;
      if (told === undefined || !mayPass(error)) throw error;
      if (failures === 0) terminal.say(`${error.facts.detail} Asking again; what stands above may be old.`);
      failures += 1;
      await clock.sleep(error.facts.retryAfterMs ?? jitter(retryPauseMs(failures), 0.2, rng), signal);
      continue;
    }
    await clock.sleep(intervalMs, signal);
  }
  return session.signal.aborted ? EXIT.detached : EXIT.ok;
}
