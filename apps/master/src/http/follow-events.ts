/**
 * Follows the event ledger from a cursor. Signals wake and never inform: what is sent is what the ledger says after
 * the cursor, so a lost signal costs at most the poll and never an event (rulings 21).
 */
import { SkepError, type Clock, type EventCursor, type EventFilter, type Logger, type Store } from "@skep/core";
import type { Stream } from "./streams.ts";
import { eventJson } from "./views/event.ts";

/** Signals may be lost; this is how late an event can then be. */
const POLL_MS = 1_000;
const PAGE = 200;
/** A filter may match nothing for hours; the reader's position must move on, or its next cursor is an expired one. */
const POSITION_MS = 15_000;

interface Deps {
  readonly store: Pick<Store, "readEvents" | "onSignal">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export async function followEvents({ store, clock, logger }: Deps, stream: Stream, from: EventCursor, filter: EventFilter): Promise<void> {
  let cursor = from;
  let woken = false;
  let nap: AbortController | undefined;
  const wake = (): void => {
    woken = true;
    nap?.abort();
  };
  const unsubscribe = store.onSignal((topic) => {
    if (topic === "events") wake();
  });
  stream.signal.addEventListener("abort", wake, { once: true });
  let toldMs = clock.mono();
  let told = cursor;
  try {
    while (!stream.signal.aborted) {
      woken = false;
      const page = await readPage();
      if (page !== undefined) {
        for (const event of page.events) {
          const json = eventJson(event);
          if (!(await stream.send({ id: json.cursor, event: json.kind, data: json }))) return;
        }
        cursor = page.next;
        if (page.events.length > 0) {
          told = page.events.at(-1)!.cursor;
          toldMs = clock.mono();
        }
        if (cursor !== told && clock.mono() - toldMs >= POSITION_MS) {
          if (!(await stream.send({ id: cursor }))) return;
          told = cursor;
          toldMs = clock.mono();
        }
        if (page.events.length >= PAGE) continue;
      }
      if (woken || stream.signal.aborted) continue;
      nap = new AbortController();
      await clock.sleep(POLL_MS, nap.signal);
      nap = undefined;
    }
  } finally {
    unsubscribe();
    stream.signal.removeEventListener("abort", wake);
  }

  /** `undefined`: the ledger cannot be read just now. Silence is honest; the events come when it is back. */
  async function readPage() {
    try {
      const page = await store.readEvents(cursor, PAGE, filter);
      if (page.kind === "expired") throw new SkepError("cursor_expired", "The stream fell behind what is kept.");
      return page;
    } catch (error) {
      if (!(error instanceof SkepError) || !error.retryable) throw error;
      logger.warn({ err: error }, "events cannot be read; the stream waits");
      return undefined;
    }
  }
}
