/**
 * Waits until every lifecycle row has ended, and with them the rollout that opens them, showing how far it is. Invariants: what the master does not say is not
 * assumed; a master that goes away is waited for, and said to be away; Ctrl-C ends the watching and not the work.
 */
import { isTerminal, jitter } from "@skep/core";
import { lifecycleList, rolloutDetail, type LifecycleJson, type RolloutDetailJson } from "@skep/protocol";
import { CliError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { Session } from "../session.ts";
import { progressLines, progressWord, type Progress } from "./render.ts";
import { decideOutcome, isOver, tallyRows, type Cut, type Outcome } from "./tally.ts";

/** What the API takes in one question. */
const MAX_IDS = 200;
const EAGER_MS = 250;
const PATIENT_MS = 1_000;
/** After this long nobody expects it within the next blink, and the master's rate limit is better left alone. */
const EAGER_FOR_MS = 10_000;
const QUIET_LINE_MS = 10_000;

export interface Watched {
  readonly outcome: Outcome;
  readonly exit: ExitCode;
  /** In the order of `ids`; without those that the master never mentioned. */
  readonly rows: readonly LifecycleJson[];
  readonly rawRows: readonly unknown[];
  readonly rollout: RolloutDetailJson | undefined;
  readonly rawRollout: unknown;
}

/** `timeoutS` 0: as long as it takes. */
export async function watchRows(session: Session, options: { readonly title: string; readonly ids: readonly string[]; readonly rolloutId?: string | undefined; readonly timeoutS: number }): Promise<Watched> {
  const { clock, signal, terminal, rng } = session;
  const { title, timeoutS, rolloutId } = options;
  let ids = options.ids;
  let rollout: RolloutDetailJson | undefined;
  let rawRollout: unknown;
  const rows = new Map<string, LifecycleJson>();
  const raws = new Map<string, unknown>();
  const startMs = clock.mono();
  let trouble: string | undefined;
  let told = "";
  let toldMs = startMs;

  const look = async (): Promise<void> => {
    if (rolloutId !== undefined) {
      const reply = await session.api.call("getRollout", rolloutDetail, { params: { rollout: rolloutId } });
      rollout = reply.data;
      rawRollout = reply.raw;
      // Its later waves, and its way back, open rows that nobody could name at the beginning.
      ids = [...new Set([...ids, ...rollout.placements.flatMap((item) => [item.lifecycle_id ?? [], item.rollback_lifecycle_id ?? []].flat())])];
    }
    const open = ids.filter((id) => !isTerminal(rows.get(id)?.status ?? "pending"));
    for (let at = 0; at < open.length; at += MAX_IDS) {
      const reply = await session.api.call("listLifecycle", lifecycleList, { query: { ids: open.slice(at, at + MAX_IDS).join(",") } });
      for (const row of reply.data.items) rows.set(row.id, row);
      for (const raw of (reply.raw as { items: { id: string }[] }).items) raws.set(raw.id, raw);
    }
  };
  const redraws = terminal.watched && !session.json;
  const tell = (progress: Progress): void => {
    const word = progressWord(progress);
    if (word === told && clock.mono() - toldMs < QUIET_LINE_MS) return;
    terminal.say(`${word} (${Math.floor(progress.elapsedMs / 1_000)}s)`);
    told = word;
    toldMs = clock.mono();
  };
  const progressNow = (): Progress => ({ title, ids, rows, tally: tallyRows(ids, rows), rollout, elapsedMs: clock.mono() - startMs, trouble });
  const show = (): void => (redraws ? terminal.redraw(progressLines(progressNow())) : tell(progressNow()));
  const end = (cut: Cut | undefined): Watched => {
    if (redraws) terminal.redraw([]);
    // How far it was when the watching ended is worth keeping; of what has ended the summary tells.
    if (redraws && cut !== undefined) tell(progressNow());
    return { ...decideOutcome(tallyRows(ids, rows), cut, rollout), rollout, rawRollout, rows: ids.flatMap((id) => rows.get(id) ?? []), rawRows: ids.flatMap((id) => (raws.has(id) ? [raws.get(id)] : [])) };
  };

  for (;;) {
    if (signal.aborted) return end("detached");
    try {
      await look();
      trouble = undefined;
    } catch (error) {
      if (signal.aborted) return end("detached");
      // Anything else but absence is an answer, and waiting would not change it.
      if (!(error instanceof CliError) || error.exit !== EXIT.unreachable) throw error;
      trouble = `the master does not answer (${error.facts.code}); asking again`;
    }
    show();
    if (isOver(tallyRows(ids, rows), rollout)) return end(undefined);
    const elapsedMs = clock.mono() - startMs;
    const leftMs = timeoutS === 0 ? Number.POSITIVE_INFINITY : timeoutS * 1_000 - elapsedMs;
    if (leftMs <= 0) return end(trouble === undefined ? "timeout" : "unreachable");
    await clock.sleep(Math.min(leftMs, jitter(elapsedMs < EAGER_FOR_MS ? EAGER_MS : PATIENT_MS, 0.1, rng)), signal);
  }
}
