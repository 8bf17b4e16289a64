/**
 * Follows the output of many components by asking their agents again and again. Invariants: positions are told with
 * everything that is told, so that a reader that is cut off goes on exactly there; what could not be read is said once
 * and taken back once; a host that does not answer delays nobody but itself; placements that appear are followed from
 * their first byte, those that go are read to their end before they are let go.
 */
import { SkepError, type Clock } from "@skep/core";
import type { LOG_EVENTS } from "@skep/protocol";
import type { AgentClient } from "../ports.ts";
import { createLogCursor, type CursorStart, type LogCursor, type LogNews } from "./log-cursor.ts";
import { CHUNK_BYTES, whyNot, type LogSource } from "./read-logs.ts";
import type { Stream } from "./streams.ts";

const POLL_MS = 500;
/** A source that refuses is asked this much less often: a dead host costs a connect time-out each time. */
const REFUSED_POLL_MS = 2_000;
const REFRESH_MS = 5_000;
/** Questions at once. More would let one reader crowd out others at the agents; fewer makes a large deployment late. */
const CONCURRENCY = 8;
/** Of these, for sources that refused last time: they take as long as a time-out does. */
const REFUSED_CONCURRENCY = 3;
/** A line without its newline is shown after this long: a prompt is output too. */
const PARTIAL_MS = 1_000;
/** How long the last words of a placement that is gone are tried for where its host does not answer. */
const LAST_WORDS_MS = 60_000;

export interface FollowPlan {
  readonly first: readonly LogSource[];
  /** Placements that are gone but were followed before: read to their end. */
  readonly departed: readonly LogSource[];
  /** Where a source begins that is there from the start. */
  readonly startOf: (source: LogSource) => CursorStart;
  /** What there is now. */
  readonly look: () => Promise<readonly LogSource[]>;
  /** End once everything that is there was read. */
  readonly untilCaughtUp: boolean;
}

interface Followed {
  readonly source: LogSource;
  readonly cursor: LogCursor;
  heardMs: number;
  dueMs: number;
  busy: boolean;
  /** The code of the refusal that was told. */
  refusal: string | undefined;
  leavingSinceMs: number | undefined;
  caughtUp: boolean;
}

const keyOf = ({ placementId, component }: LogSource): string => `${placementId}/${component}`;

export async function followLogs({ agents, clock }: { readonly agents: Pick<AgentClient, "logs">; readonly clock: Clock }, stream: Stream, plan: FollowPlan): Promise<void> {
  const followed = new Map<string, Followed>();
  const reading = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  let nap: AbortController | undefined;

  const tell = ({ source }: Followed, event: keyof typeof LOG_EVENTS, data: object): Promise<boolean> =>
    stream.send({ event, data: { host: source.host.name, placement_id: source.placementId, component: source.component, ...data } });
  const tellNews = async (item: Followed, news: readonly LogNews[]): Promise<void> => {
    for (const one of news) {
      const sent = one.kind === "line" ? await tell(item, "log", one.line)
        : one.kind === "position" ? await tell(item, "log_position", { offset: one.offset })
        : await tell(item, "log_gap", { kind: one.why, rotated_bytes: one.bytes, from: one.from, to: one.to });
      if (!sent) return;
    }
  };

  const add = async (source: LogSource, start: CursorStart, leaving: boolean): Promise<void> => {
    const item: Followed = { source, cursor: createLogCursor(start), heardMs: clock.mono(), dueMs: 0, busy: false, refusal: undefined, leavingSinceMs: leaving ? clock.mono() : undefined, caughtUp: false };
    followed.set(keyOf(source), item);
    await tell(item, "log_position", { offset: item.cursor.at });
  };
  const adopt = async (sources: readonly LogSource[]): Promise<void> => {
    const seen = new Set(sources.map(keyOf));
    for (const [key, item] of followed) {
      if (!seen.has(key)) item.leavingSinceMs ??= clock.mono();
      else item.leavingSinceMs = undefined;
    }
    // Nobody has seen any of it: from the first byte.
    for (const source of sources) if (!followed.has(keyOf(source))) await add(source, { kind: "position", at: 0 }, false);
  };
  const letGo = async (item: Followed, read: boolean): Promise<void> => {
    followed.delete(keyOf(item.source));
    await tell(item, "log_end", { read });
  };

  const readOne = async (item: Followed): Promise<void> => {
    const { cursor, source: { host, placementId, component } } = item;
    try {
      const chunk = await agents.logs(host, placementId, component, cursor.at, CHUNK_BYTES);
      if (item.refusal !== undefined) await tell(item, "log_readable", {});
      item.refusal = undefined;
      const full = chunk.data.length >= CHUNK_BYTES;
      const news = cursor.take(chunk, full);
      const moved = chunk.data.length > 0 || news.some((one) => one.kind === "gap");
      if (moved) item.heardMs = clock.mono();
      const last = !moved && (plan.untilCaughtUp || item.leavingSinceMs !== undefined);
      if (!moved && cursor.pending && (last || clock.mono() - item.heardMs >= PARTIAL_MS)) news.push(...cursor.flush());
      await tellNews(item, news);
      item.caughtUp = !moved;
      item.dueMs = full || (moved && (plan.untilCaughtUp || item.leavingSinceMs !== undefined)) ? 0 : clock.mono() + POLL_MS;
      if (last && item.leavingSinceMs !== undefined) await letGo(item, true);
    } catch (error) {
      await refused(item, error);
    }
  };
  const refused = async (item: Followed, error: unknown): Promise<void> => {
    const words = whyNot(error);
    const { code } = error as SkepError;
    item.caughtUp = true;
    if (code === "logs_not_found" && !plan.untilCaughtUp) {
      // It has not written anything yet, which is no trouble; when it does, none of it may be missed.
      await tellNews(item, item.cursor.beginAtZero());
      item.dueMs = clock.mono() + POLL_MS;
      if (item.leavingSinceMs !== undefined) await letGo(item, true);
      return;
    }
    item.dueMs = clock.mono() + REFUSED_POLL_MS;
    // By its code: the same outage may have other words each time.
    if (item.refusal !== code) await tell(item, "log_error", { error: words });
    item.refusal = code;
    if (item.leavingSinceMs !== undefined && (code === "logs_not_found" || clock.mono() - item.leavingSinceMs >= LAST_WORDS_MS)) await letGo(item, code === "logs_not_found");
  };

  /** Starts what is due and may be asked; returns how long until the next one is. */
  const startReads = (): number => {
    let nextMs = POLL_MS;
    let refusing = [...followed.values()].filter((item) => item.busy && item.refusal !== undefined).length;
    for (const [key, item] of [...followed]) {
      if (item.busy || (plan.untilCaughtUp && item.caughtUp)) continue;
      // Whoever has to wait for another's answer is woken by it.
      if (reading.size >= CONCURRENCY || (item.refusal !== undefined && refusing >= REFUSED_CONCURRENCY)) continue;
      const leftMs = item.dueMs - clock.mono();
      if (leftMs > 0) {
        nextMs = Math.min(nextMs, leftMs);
        continue;
      }
      item.busy = true;
      if (item.refusal !== undefined) refusing += 1;
      // To the end of the queue: whoever was just read comes last next time.
      followed.delete(key);
      followed.set(key, item);
      const read = readOne(item).catch((error: unknown) => void (failure ??= { error })).finally(() => {
        item.busy = false;
        reading.delete(read);
        nap?.abort();
      });
      reading.add(read);
    }
    return nextMs;
  };

  for (const source of plan.first) await add(source, plan.startOf(source), false);
  for (const source of plan.departed) await add(source, plan.startOf(source), true);
  let lookedMs = clock.mono();
  try {
    while (!stream.signal.aborted) {
      const nextMs = startReads();
      if (plan.untilCaughtUp && reading.size === 0 && [...followed.values()].every((item) => item.caughtUp)) {
        await stream.send({ event: "log_caught_up", data: {} });
        return;
      }
      nap = new AbortController();
      const onAbort = (): void => nap?.abort();
      stream.signal.addEventListener("abort", onAbort, { once: true });
      await clock.sleep(nextMs, nap.signal);
      stream.signal.removeEventListener("abort", onAbort);
      nap = undefined;
      if (failure !== undefined) throw failure.error;
      if (!plan.untilCaughtUp && clock.mono() - lookedMs >= REFRESH_MS) {
        lookedMs = clock.mono();
        try {
          await adopt(await plan.look());
        } catch (error) {
          // Agents can be read while the ledger cannot: what is known is followed on.
          if (!(error instanceof SkepError) || !error.retryable) throw error;
        }
      }
    }
  } finally {
    await Promise.all(reading);
  }
}
