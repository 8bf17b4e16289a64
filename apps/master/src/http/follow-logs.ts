/**
 * Follows the output of many components by asking their agents again and again. Invariants: what could not be read is
 * said once per change and never hidden; placements that appear while it follows are followed too.
 */
import { SkepError, type Clock } from "@skep/core";
import type { AgentClient } from "../ports.ts";
import { eachOf } from "./each-of.ts";
import { createLineSplitter, skipPartialLine, whyNot, type Line, type LineSplitter, type LogSource } from "./read-logs.ts";
import type { Stream } from "./streams.ts";

const POLL_MS = 500;
/** A source that refuses is asked this much less often: a dead host costs a connect time-out each time. */
const REFUSED_POLL_MS = 2_000;
const REFRESH_MS = 5_000;
const CHUNK_BYTES = 65_536;
const CONCURRENCY = 8;
/** A line without its newline is shown after this long: a prompt is output too. */
const PARTIAL_MS = 1_000;

interface Followed {
  readonly source: LogSource;
  /** Negative: from the end. */
  at: number;
  splitter: LineSplitter | undefined;
  heardMs: number;
  notBeforeMs: number;
  refusal: string | undefined;
}

export async function followLogs(
  { agents, clock }: { readonly agents: Pick<AgentClient, "logs">; readonly clock: Clock },
  stream: Stream,
  look: () => Promise<LogSource[]>,
  first: readonly LogSource[],
  tailBytes: number,
): Promise<void> {
  const followed = new Map<string, Followed>();
  const adopt = (sources: readonly LogSource[], at: number): void => {
    const seen = new Set<string>();
    for (const source of sources) {
      const key = `${source.placementId}/${source.component}`;
      seen.add(key);
      if (!followed.has(key)) followed.set(key, { source, at, splitter: undefined, heardMs: clock.mono(), notBeforeMs: 0, refusal: undefined });
    }
    for (const key of followed.keys()) if (!seen.has(key)) followed.delete(key);
  };

  const send = (item: Followed, lines: readonly Line[]): Promise<boolean> => sendEach(lines, (line) => ({ event: "log", data: { host: item.source.host.name, component: item.source.component, ...line } }));
  const sendEach = async <T>(items: readonly T[], frame: (item: T) => { event: string; data: unknown }): Promise<boolean> => {
    for (const item of items) if (!(await stream.send(frame(item)))) return false;
    return true;
  };

  const readOne = async (item: Followed): Promise<void> => {
    if (stream.signal.aborted || clock.mono() < item.notBeforeMs) return;
    const { host, placementId, component } = item.source;
    try {
      const chunk = await agents.logs(host, placementId, component, item.at, CHUNK_BYTES);
      item.refusal = undefined;
      if (chunk.data.length > 0) {
        const start = chunk.nextOffset - chunk.data.length;
        const skip = item.at < 0 && start > 0 ? skipPartialLine(chunk.data) : 0;
        item.splitter ??= createLineSplitter(start + skip);
        item.heardMs = clock.mono();
        await send(item, item.splitter.push(chunk.data.subarray(skip)));
      } else if (item.splitter !== undefined && clock.mono() - item.heardMs >= PARTIAL_MS) {
        await send(item, item.splitter.flush());
      }
      // From here on by position; an agent that has nothing yet says where nothing ends.
      item.at = chunk.nextOffset;
    } catch (error) {
      const refusal = whyNot(error);
      item.notBeforeMs = clock.mono() + REFUSED_POLL_MS;
      if (refusal === item.refusal) return;
      item.refusal = refusal;
      await stream.send({ event: "log_error", data: { host: host.name, component, error: refusal } });
    }
  };

  adopt(first, -tailBytes);
  let lookedMs = clock.mono();
  while (!stream.signal.aborted) {
    await eachOf([...followed.values()], CONCURRENCY, readOne);
    if (stream.signal.aborted) return;
    await clock.sleep(POLL_MS, stream.signal);
    if (clock.mono() - lookedMs >= REFRESH_MS) {
      lookedMs = clock.mono();
      // A new placement is followed from its first byte: nobody has seen any of it.
      try {
        adopt(await look(), 0);
      } catch (error) {
        // Agents can be read while the ledger cannot: what is known is followed on.
        if (!(error instanceof SkepError) || !error.retryable) throw error;
      }
    }
  }
}
