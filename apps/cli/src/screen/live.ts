/**
 * Something that is asked for again and again and shown until somebody has seen enough. Invariants: a master that is
 * away ends nothing and is said, with the time of what is still shown; what was asked for before a key is never shown as
 * its answer; at most one question is open, and the master rests at least as long as it worked.
 */
import { jitter, toIso, type Instant } from "@skep/core";
import { createApi, type Api } from "../api/client.ts";
import { CliError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { OpenScreen, Session } from "../session.ts";
import type { Line } from "../text/line.ts";
import { clampScroll, composeFrame, footLine, freshnessLine, rangeOf, scrolled, type FrameParts, type Freshness } from "./frame.ts";
import type { Key, Screen } from "./screen.ts";

export interface Known {
  /** The master's clock at the answer. */
  readonly at: Instant;
}

export interface LiveOptions<S extends Known> {
  /** Between an answer and the next question. */
  readonly intervalMs: number;
  readonly title: string;
  /** For the foot, beside those that scroll. */
  readonly keys: () => readonly string[];
  readonly load: (api: Api) => Promise<S>;
  readonly view: (known: S, columns: number) => { readonly head: readonly Line[]; readonly body: readonly Line[] };
  /** True: the question is another one now, ask at once. */
  readonly onKey?: (char: string) => boolean;
}

/**
 * A connection that says nothing for this long is given up. The screen calls itself old long before; shorter would give
 * up on the masters of very large fleets, longer would notice a machine that vanished too late.
 */
export const LIVE_QUIET_MS = 30_000;
/** An answer may be this late before what is shown is called old. */
const GRACE_MS = 3_000;
const TICK_MS = 1_000;
const FIRST_PAUSE_MS = 500;
/** Longer: a master that is back goes unnoticed. Shorter: a fleet of watchers wakes it with a storm. */
const MAX_PAUSE_MS = 10_000;

/** Asking again may cure it: the master is away, or failed at this one question. */
export const mayPass = (error: unknown): error is CliError => error instanceof CliError && (error.exit === EXIT.unreachable || error.code === "internal" && error.facts.problem !== undefined);

/** After that many failures in a row. */
export const retryPauseMs = (failures: number): number => Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));

export const clockTime = (at: Instant): string => `${toIso(at).slice(11, 19)}Z`;

/** Returns when somebody quits (0), interrupts (130) or no longer looks (0). Throws CliError for what asking again does not cure; the screen is closed by then. */
export async function runLive<S extends Known>(session: Session, openScreen: OpenScreen, options: LiveOptions<S>): Promise<ExitCode> {
  const { clock, rng, terminal } = session;
  const { transport } = session.api;
  const stop = new AbortController();
  const signal = AbortSignal.any([session.signal, terminal.gone, stop.signal]);
  const api = createApi({ transport, clock, rng, signal, quietMs: LIVE_QUIET_MS });
  const startMs = clock.mono();
  let known: { readonly data: S; readonly monoMs: number; readonly tookMs: number } | undefined;
  let trouble: CliError | undefined;
  let scroll = 0;
  /** Grows with every change of the question: an answer to an older one is thrown away. */
  let question = 0;
  let wake = new AbortController();
  let screen: Screen | undefined;

  const freshness = (): Freshness => {
    const sinceMs = clock.mono() - (known?.monoMs ?? startMs);
    const overdue = sinceMs > GRACE_MS + Math.max(known === undefined ? 0 : options.intervalMs, known?.tookMs ?? 0) * 2;
    const because = trouble === undefined || trouble.code === "master_unreachable" ? undefined : trouble.code;
    return { url: transport.url, knownAt: known === undefined ? undefined : clockTime(known.data.at), sinceMs, stale: overdue || trouble !== undefined, because };
  };
  const parts = (columns: number, rows: number): FrameParts => {
    const { head, body } = known === undefined ? { head: [], body: [] } : options.view(known.data, columns);
    const top = [freshnessLine(options.title, freshness()), ...head];
    const bare: FrameParts = { head: top, body, foot: [""] };
    return { ...bare, foot: [footLine({ keys: options.keys(), range: rangeOf(bare, scroll, rows), intervalMs: options.intervalMs, url: transport.url })] };
  };
  const draw = (): void => {
    if (screen === undefined) return;
    const { columns, rows } = screen.size();
    const shown = parts(columns, rows);
    scroll = clampScroll(scroll, shown, rows);
    screen.draw(composeFrame(shown, scroll, rows));
  };

  let exit: ExitCode | undefined;
  const onKey = (key: Key): void => {
    if (key === "quit" || key === "interrupt") {
      exit ??= key === "quit" ? EXIT.ok : EXIT.detached;
      stop.abort();
      return;
    }
    if (typeof key === "object") {
      if (options.onKey?.(key.char) !== true) return;
      question += 1;
      scroll = 0;
      wake.abort();
    } else if (screen !== undefined) {
      const { columns, rows } = screen.size();
      scroll = scrolled(key, scroll, parts(columns, rows), rows) ?? scroll;
    }
    draw();
  };

  const poll = async (): Promise<void> => {
    for (let failures = 0; !signal.aborted; ) {
      const asked = question;
      const beganMs = clock.mono();
      wake = new AbortController();
      try {
        const data = await options.load(api);
        if (asked !== question) continue;
        known = { data, monoMs: clock.mono(), tookMs: clock.mono() - beganMs };
        trouble = undefined;
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (!mayPass(error)) throw error;
        trouble = error;
        failures += 1;
      }
      draw();
      const pauseMs = failures === 0 ? Math.max(options.intervalMs, known?.tookMs ?? 0) : (trouble?.facts.retryAfterMs ?? jitter(retryPauseMs(failures), 0.2, rng));
      if (asked === question) await clock.sleep(pauseMs, AbortSignal.any([signal, wake.signal]));
    }
  };
  const tick = async (): Promise<void> => {
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal);
      draw();
    }
  };

  screen = openScreen({ onKey, onResize: draw });
  try {
    draw();
    // The clock's own rhythm ends with the signal, and a question that is still open then with its connection.
    await Promise.race([poll(), tick()]);
  } finally {
    stop.abort();
    screen.close();
  }
  return exit ?? (session.signal.aborted ? EXIT.detached : EXIT.ok);
}
