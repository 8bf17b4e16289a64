/**
 * Long answers, the part that is the same for events, logs and commands. Invariants: a stream ends when its token does,
 * when the listener closes, and when its reader has not read for 30 s; what a slow reader has not taken is never piled
 * up in memory; every stream is counted, per token and in all.
 */
import { SkepError, traceFacts, type Clock, type Logger, type TokenId } from "@skep/core";
import type { FastifyReply, FastifyRequest } from "fastify";
import { EXEC_CONTENT_TYPE, type Problem } from "@skep/protocol";
import { toProblem } from "../problem.ts";
import type { Authenticator, Principal } from "./authenticate.ts";
import type { OperatorLimits } from "./settings.ts";

/** How soon a revocation made on another master ends a stream here. */
const RECHECK_MS = 5_000;
/** Proxies cut connections that are quiet for a minute; much shorter is noise. */
const HEARTBEAT_MS = 15_000;
const SLOW_READER_MS = 30_000;
/** A token that cannot be checked this many times in a row counts as gone: streams fail closed. */
const MAX_UNCHECKED = 3;

export interface Stream {
  readonly signal: AbortSignal;
  /** Resolves when there is room for more; false once the stream has ended. */
  send(frame: Frame): Promise<boolean>;
}

export interface Frame {
  readonly event?: string;
  readonly id?: string;
  readonly data?: unknown;
}

/** How frames are spelt. */
export interface StreamFormat {
  readonly contentType: string;
  opening(first: Frame): string;
  frame(frame: Frame): string;
  /** A sign of life that means nothing. */
  readonly beat: string;
  problem(problem: Problem): string;
}

export interface Streams {
  /** Takes the response over and runs `produce` until it returns or the stream ends. Throws `too_many_streams`. */
  serve(request: FastifyRequest, reply: FastifyReply, principal: Principal, first: Frame, produce: (stream: Stream) => Promise<void>, format?: StreamFormat): void;
  /** Throws `too_many_streams` while there is room for none, for those who must know before they act. */
  requireRoom(principal: Principal): void;
  closeOf(tokenId: TokenId): void;
  closeAll(): void;
  readonly open: number;
}

interface Deps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: OperatorLimits;
  readonly authenticator: Authenticator;
  /** Called once the response is a stream and no longer a request in progress. */
  readonly onTaken: (request: FastifyRequest) => void;
}

/** One frame of text/event-stream. `id` alone moves the reader's position and shows it nothing. */
export function formatFrame({ event, id, data }: Frame): string {
  const lines = [...(id === undefined ? [] : [`id: ${id}`]), ...(event === undefined ? [] : [`event: ${event}`]), ...(data === undefined ? [] : [`data: ${JSON.stringify(data)}`])];
  return `${lines.join("\n")}\n\n`;
}

/** text/event-stream, as its specification has it. */
const EVENT_STREAM: StreamFormat = {
  contentType: "text/event-stream; charset=utf-8",
  opening: (first) => `retry: 2000\n${formatFrame(first)}`,
  frame: formatFrame,
  beat: ": still here\n\n",
  problem: (problem) => formatFrame({ event: "problem", data: problem }),
};

/** One JSON document per line; an empty line is a sign of life. */
export const NDJSON: StreamFormat = {
  contentType: EXEC_CONTENT_TYPE,
  opening: () => "",
  frame: ({ data }) => `${JSON.stringify(data)}\n`,
  beat: "\n",
  problem: (problem) => `${JSON.stringify({ problem })}\n`,
};

export function createStreams({ clock, logger, limits, authenticator, onTaken }: Deps): Streams {
  const running = new Map<AbortController, Principal>();
  const openOf = (tokenId: TokenId): number => [...running.values()].filter((principal) => principal.tokenId === tokenId).length;

  const requireRoom = (principal: Principal): void => {
    if (running.size < limits.streamsTotal && openOf(principal.tokenId) < limits.streamsPerToken) return;
    throw new SkepError("too_many_streams", `At most ${limits.streamsPerToken} per token and ${limits.streamsTotal} in all.`, { retryAfterMs: 5_000 });
  };

  const serve: Streams["serve"] = (request, reply, principal, first, produce, format = EVENT_STREAM) => {
    requireRoom(principal);
    const stop = new AbortController();
    const { signal } = stop;
    running.set(stop, principal);
    onTaken(request);
    reply.hijack();
    const { raw } = reply;
    raw.once("close", () => stop.abort());
    raw.once("error", () => stop.abort());
    raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      "content-type": format.contentType,
      "cache-control": "no-store",
      // Proxies that buffer would turn "now" into "some time later".
      "x-accel-buffering": "no",
      connection: "close",
    });

    const drained = async (): Promise<boolean> => {
      if (!raw.writableNeedDrain) return !signal.aborted;
      const patience = new AbortController();
      const giveUp = (): void => patience.abort();
      raw.once("drain", giveUp);
      signal.addEventListener("abort", giveUp, { once: true });
      await clock.sleep(SLOW_READER_MS, patience.signal);
      raw.off("drain", giveUp);
      signal.removeEventListener("abort", giveUp);
      if (signal.aborted) return false;
      if (!raw.writableNeedDrain) return true;
      logger.info({ request_id: request.id, actor: principal.actor, ...traceFacts(request.traceparent) }, "a stream's reader was too slow and is cut off");
      raw.destroy();
      stop.abort();
      return false;
    };
    const send = async (frame: Frame): Promise<boolean> => {
      if (signal.aborted) return false;
      raw.write(format.frame(frame));
      return drained();
    };
    const fail = (error: unknown): void => {
      const { body, internal } = toProblem(error, request.id);
      if (internal) logger.error({ err: error, error_id: body.error_id, request_id: request.id, ...traceFacts(request.traceparent) }, "a stream failed");
      if (!raw.writableEnded && !raw.destroyed) raw.write(format.problem(body));
      stop.abort();
    };

    /** Beside the producer: the token's life, and a sign of ours. */
    const tend = async (): Promise<void> => {
      let beatMs = clock.mono();
      let unchecked = 0;
      while (!signal.aborted) {
        await clock.sleep(RECHECK_MS, signal);
        if (signal.aborted) return;
        try {
          if (!(await authenticator.stillValid(principal))) return fail(new SkepError("unauthenticated", "The token was revoked or has expired."));
          unchecked = 0;
        } catch (error) {
          if (++unchecked >= MAX_UNCHECKED) return fail(error);
        }
        if (clock.mono() - beatMs >= HEARTBEAT_MS && !raw.writableNeedDrain) {
          raw.write(format.beat);
          beatMs = clock.mono();
        }
      }
    };

    raw.write(format.opening(first));
    const tending = tend();
    void produce({ signal, send })
      .catch(fail)
      .then(() => stop.abort())
      .then(() => tending)
      .finally(() => {
        running.delete(stop);
        if (!raw.writableEnded) raw.end();
      });
  };

  return {
    serve,
    requireRoom,
    closeOf: (tokenId) => {
      for (const [stop, principal] of running) if (principal.tokenId === tokenId) stop.abort();
    },
    closeAll: () => {
      for (const stop of running.keys()) stop.abort();
    },
    get open() {
      return running.size;
    },
  };
}
