/** One component's output, read once. An agent's refusal is a result and not an exception. */
import { SkepError, type HostRecord } from "@skep/core";
import type { AgentClient } from "../ports.ts";
import { createLogCursor, type CursorStart, type LogNews } from "./log-cursor.ts";

export interface LogSource {
  readonly host: HostRecord;
  readonly placementId: string;
  readonly component: string;
}

export const CHUNK_BYTES = 65_536;

/** What an agent would not give, in words that say which code it was. */
export const whyNot = (error: unknown): string => {
  if (error instanceof SkepError) return `${error.code}: ${error.detail}`;
  throw error;
};

export interface ReadOnce {
  readonly news: readonly LogNews[];
  readonly bytes: number;
  /** Where to go on; negative when nothing could be read. */
  readonly next: number;
  readonly error?: string;
}

/** At most `maxBytes` from `start`; what has no newline yet included. */
export async function readOnce(agents: Pick<AgentClient, "logs">, { host, placementId, component }: LogSource, start: CursorStart, maxBytes: number): Promise<ReadOnce> {
  const cursor = createLogCursor(start);
  const news: LogNews[] = [];
  let bytes = 0;
  const end = (error?: string): ReadOnce => {
    // What a tail held back because its end was not reached is all there will be.
    if (cursor.at >= 0) news.push(...cursor.take({ data: new Uint8Array(), nextOffset: cursor.at }, false), ...cursor.flush());
    const last = news.at(-1);
    const next = last === undefined ? cursor.at : last.kind === "line" ? last.line.next : last.kind === "gap" ? last.to : last.offset;
    return { news, bytes, next, ...(error === undefined ? {} : { error }) };
  };
  try {
    // Of a tail of nothing one byte is read: it says where the end is.
    while (bytes < Math.max(1, maxBytes)) {
      const limit = Math.min(CHUNK_BYTES, Math.max(1, maxBytes) - bytes);
      const chunk = await agents.logs(host, placementId, component, cursor.at, limit);
      const told = cursor.take(chunk, true);
      news.push(...told);
      bytes += chunk.data.length;
      // Asked for a position beyond the end: that is said, and nothing else is guessed.
      if (chunk.data.length === 0 || told.some((one) => one.kind === "gap" && one.why === "restarted")) break;
    }
    return end();
  } catch (error) {
    return end(whyNot(error));
  }
}
