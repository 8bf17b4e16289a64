/**
 * Follows a stream of the API for as long as somebody wants to know. Invariants: a broken connection is taken up again
 * where it broke (the caller says how), and said; a refusal that time does not cure ends it; what the master says it
 * no longer has is never passed over in silence.
 */
import { jitter, uuidv7, type Clock, type Rng } from "@skep/core";
import type { OperatorRouteId } from "@skep/protocol";
import { CliError, refusalError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import { retryAfterMs } from "./client.ts";
import { addressOf, type Target } from "./path.ts";
import { createSseParser, type Frame } from "./sse.ts";
import { connectionError, type Transport } from "./transport.ts";

/** The master says something every 15 s; three times that is silence. */
const QUIET_MS = 45_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 15_000;
/** Before the first connection a person waits for an answer; afterwards the work is to stay connected. */
const FIRST_ATTEMPTS = 4;

export interface FollowDeps {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly signal: AbortSignal;
}

export interface Following {
  readonly route: OperatorRouteId;
  /** Asked before each connection, so that it starts where the last one ended. */
  readonly resume: () => { readonly target: Target; readonly lastEventId?: string | undefined; readonly body?: unknown };
  readonly onFrame: (frame: Frame) => void;
  /** For a person: it broke, it is back. */
  readonly onTrouble: (words: string) => void;
}

/** Returns when the signal aborts. Throws CliError for what cannot be taken up again. */
export async function follow({ transport, clock, rng, signal }: FollowDeps, following: Following): Promise<void> {
  let failures = 0;
  let connectedOnce = false;
  let broken = false;
  while (!signal.aborted) {
    let pauseMs = FIRST_PAUSE_MS;
    try {
      const { target, lastEventId, body } = following.resume();
      const { method, path } = addressOf(following.route, target);
      const headers = {
        accept: "text/event-stream",
        ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
        ...(method === "GET" ? {} : { "idempotency-key": uuidv7(clock.now(), rng) }),
      };
      const reply = await transport.send({ method, path, signal, quietMs: QUIET_MS, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      if (reply.statusCode !== 200) throw refusalError(reply.statusCode, parse(await reply.body.text()), retryAfterMs(reply.headers["retry-after"]));
      if (broken) following.onTrouble("connected again");
      connectedOnce = true;
      broken = false;
      const parser = createSseParser();
      for await (const chunk of reply.body as AsyncIterable<Uint8Array>) {
        for (const frame of parser.push(chunk)) {
          failures = 0;
          pauseMs = frame.retryMs ?? pauseMs;
          if (frame.event === "problem") throw refusalError(problemStatus(frame.data), parse(frame.data), undefined);
          following.onFrame(frame);
          if (signal.aborted) return;
        }
      }
      if (!signal.aborted) following.onTrouble("the master closed the stream; connecting again");
      broken = true;
    } catch (error) {
      if (signal.aborted) return;
      const { error: failure, retry } = error instanceof CliError ? { error, retry: error.exit === EXIT.unreachable } : connectionError(error, transport.url);
      failures += 1;
      if (!retry || (!connectedOnce && failures >= FIRST_ATTEMPTS)) throw failure;
      if (!broken) following.onTrouble(`${failure.facts.detail} Connecting again`);
      broken = true;
      pauseMs = failure.facts.retryAfterMs ?? Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
    }
    await clock.sleep(jitter(pauseMs, 0.2, rng), signal);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const problemStatus = (data: string): number => {
  const { status } = Object(parse(data)) as { status?: unknown };
  return typeof status === "number" ? status : 500;
};
