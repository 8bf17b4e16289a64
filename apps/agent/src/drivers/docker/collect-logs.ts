/**
 * Copies what containers print into the same segment files that processes write, because the engine's own logs go with
 * the container. Invariants: one writer per component, however many containers it has at a time; the position follows
 * the bytes, so that an agent, an engine or a container that restarts leaves neither a hole nor a duplicate.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AbortSignalLike, Clock, Logger } from "@skep/core";
import { openLogWriter } from "../../runner/log-segments.ts";
import type { LogWriter } from "../../runner/log-segments.ts";
import { LOG_DIR } from "../../runner/run-state.ts";
import type { LogLimits } from "../../runner/run-state.ts";
import { readLog } from "../read-log.ts";
import type { ComponentDirs } from "../component-dirs.ts";
import { isRunning, wasStarted } from "./context.ts";
import type { View } from "./context.ts";
import type { Engine } from "./engine.ts";
import { createDemux } from "./frames.ts";
import { advance, createSeam, pieceOf, sinceOf } from "./log-seam.ts";
import type { LogPosition } from "./log-seam.ts";

/** A silent container is not a silent engine: then the stream is opened anew, from where it stood. */
const FOLLOW_IDLE_MS = 300_000;
const FETCH_IDLE_MS = 10_000;
/** Between tries to follow. Shorter: a sick engine is asked all the time; longer: output comes late. */
const RETRY_MS = 1_000;
/** What a crash can have copied beyond the written position: one chunk; more than any engine sends at once. */
const MAX_TAIL_BYTES = 1_048_576;

export interface Collector {
  /** Follows a running container; copies the rest of an ended one. Returns at once. */
  see(view: View): void;
  /** Resolves when everything an ended container printed is copied, or `limitMs` later. */
  drain(view: View, limitMs: number): Promise<void>;
  /** The container is no more. */
  forget(id: string): void;
  close(): void;
}

export interface CollectorDeps {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dirs: ComponentDirs;
  /** Where positions are kept. */
  readonly directory: string;
  readonly limits: LogLimits;
}

export function createCollector({ engine, clock, logger, dirs, directory, limits }: CollectorDeps): Collector {
  const closing = new AbortController();
  const following = new Map<string, Promise<void>>();
  /** When the end was that everything was copied up to, by container. */
  const drained = new Map<string, string>();
  const writers = new Map<string, { writer: LogWriter; users: number }>();

  const pathOf = (id: string): string => join(directory, `${id}.json`);
  const readPosition = (id: string): LogPosition | undefined => {
    try {
      return JSON.parse(readFileSync(pathOf(id), "utf8")) as LogPosition;
    } catch {
      return undefined;
    }
  };
  const writePosition = (id: string, position: LogPosition | undefined): void => {
    if (position === undefined) return;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      writeFileSync(`${pathOf(id)}.tmp`, JSON.stringify(position), { mode: 0o600 });
      renameSync(`${pathOf(id)}.tmp`, pathOf(id));
    } catch (err) {
      logger.warn({ err }, "the position in a container's output cannot be written; after a restart parts may come twice");
    }
  };

  /** Reads once from where it stands to the stream's end. */
  const copy = async (view: View, follow: boolean, signal: AbortSignalLike): Promise<void> => {
    const logDir = join(dirs.of(view.labels.placementId, view.labels.component).path, LOG_DIR);
    const position = readPosition(view.id);
    const stream = await engine.logs(view.id, { follow, since: sinceOf(position) }, follow ? FOLLOW_IDLE_MS : FETCH_IDLE_MS, signal);
    const { writer, done } = borrow(logDir);
    try {
      const tail = position === undefined ? { data: new Uint8Array() } : await readLog(logDir, view.labels.component, position.offset, MAX_TAIL_BYTES);
      const seam = createSeam(position, position !== undefined && writer.end() >= position.offset ? tail.data : new Uint8Array());
      const demux = createDemux();
      let now = position;
      for await (const chunk of stream) {
        for (const piece of demux(chunk).map(pieceOf)) {
          const verdict = seam(piece);
          if (verdict === "new") writer.write(piece.data);
          // What was copied before ends where it ends; more of it may follow, which this reading has not come to yet.
          if (verdict !== "skipped") now = advance(now, piece, verdict === "copied" ? (now?.offset ?? 0) + piece.data.length : writer.end());
        }
        writePosition(view.id, now);
      }
    } finally {
      stream.end();
      done();
    }
  };

  const borrow = (logDir: string): { writer: LogWriter; done: () => void } => {
    const entry = writers.get(logDir) ?? { writer: openLogWriter(logDir, limits), users: 0 };
    entry.users++;
    writers.set(logDir, entry);
    const done = (): void => {
      if (--entry.users > 0) return;
      writers.delete(logDir);
      entry.writer.close();
    };
    return { writer: entry.writer, done };
  };

  const once = (view: View): void => {
    if (following.has(view.id) || closing.signal.aborted) return;
    const ended = isRunning(view) ? undefined : view.seen.State?.FinishedAt;
    const work = async (): Promise<void> => {
      try {
        await copy(view, ended === undefined, closing.signal);
        if (ended !== undefined) drained.set(view.id, ended);
      } catch (err) {
        if (closing.signal.aborted) return;
        logger.debug({ err, container: view.id }, "copying a container's output was interrupted; it goes on from there");
        await clock.sleep(RETRY_MS, closing.signal);
      }
    };
    following.set(view.id, work().finally(() => following.delete(view.id)));
  };

  const isDrained = (view: View): boolean => !wasStarted(view) || drained.get(view.id) === view.seen.State?.FinishedAt;
  return {
    see: (view) => {
      if (isRunning(view) || !isDrained(view)) once(view);
    },
    drain: async (view, limitMs) => {
      const over = new AbortController();
      const all = async (): Promise<void> => {
        while (!over.signal.aborted && !closing.signal.aborted && !isDrained(view)) {
          once(view);
          await following.get(view.id);
        }
      };
      await Promise.race([all(), clock.sleep(limitMs, over.signal)]);
      over.abort();
    },
    forget: (id) => {
      drained.delete(id);
      rmSync(pathOf(id), { force: true });
    },
    close: () => closing.abort(),
  };
}
