/** A container in the words of the report. Pure. The rule: never a better state than was seen, and always why. */
import type { ComponentState, ObservedComponent } from "@skep/core";
import { exitText } from "../../runner/run-state.ts";
import type { HealthReport } from "../../runner/watch-health.ts";
import { isRunning, timeOf, wasStarted } from "./context.ts";
import type { View } from "./context.ts";
import { publishedPorts } from "./published-ports.ts";
import type { ContainerRecord } from "./records.ts";

/** What the keeper knows of a container and nobody else. */
export interface Vital {
  readonly health: (HealthReport & { readonly since: number }) | undefined;
  readonly backoff: { readonly because: string; readonly since: number } | undefined;
  /** A start of it is on its way. */
  readonly starting: boolean;
}

export interface Surroundings {
  readonly hostBootId: string;
  readonly drift: readonly string[];
}

interface Said {
  readonly state: ComponentState;
  readonly since?: number | undefined;
  readonly error?: string | undefined;
}

export function decideObserved(view: View, record: ContainerRecord | undefined, vital: Vital, { hostBootId, drift }: Surroundings): ObservedComponent {
  const { labels, seen, spec } = view;
  const running = isRunning(view);
  const ended = !running && wasStarted(view);
  const said = running ? runningState(view, vital) : endedState(view, record, vital, hostBootId);
  const since = said.since ?? timeOf(running ? seen.State?.StartedAt : seen.State?.FinishedAt) ?? timeOf(seen.Created) ?? 0;
  return {
    labels, state: said.state, since,
    ...(running && (seen.State?.Pid ?? 0) > 0 ? { pid: seen.State?.Pid } : {}),
    restarts: record?.restarts ?? 0,
    ports: running ? publishedPorts(spec?.ports ?? [], seen) : {},
    ...(ended && seen.State?.ExitCode !== undefined ? { exitCode: seen.State.ExitCode } : {}),
    ...(said.error === undefined ? {} : { error: said.error }),
    ...(drift.length === 0 ? {} : { drift }),
  };
}

function runningState(view: View, vital: Vital): Said {
  if (view.seen.State?.Paused === true) return { state: "unhealthy", error: "it is paused; unpause it, or restart the component" };
  if (view.damage !== undefined) return { state: "unhealthy", error: `${view.damage}: it is not probed and not restarted` };
  if (vital.health === undefined) return { state: "starting" };
  return vital.health;
}

function endedState(view: View, record: ContainerRecord | undefined, vital: Vital, hostBootId: string): Said {
  if (vital.starting) return { state: "starting" };
  if (record?.stop !== undefined) return { state: "stopped", error: record.stop.because };
  if (vital.backoff !== undefined) return { state: "backoff", since: vital.backoff.since, error: vital.backoff.because };
  if (record?.startError !== undefined) return { state: "failed", error: record.startError };
  if (!wasStarted(view)) return { state: "failed", error: "was not started: its start was cut off" };
  const done = view.seen.State?.ExitCode === 0 && view.spec?.run_to_completion === true;
  if (record !== undefined && record.ended === undefined && record.hostBootId !== hostBootId && !done) return { state: "stopped", error: "host rebooted" };
  const clean = view.seen.State?.ExitCode === 0;
  // The cause may have come after the end was written down.
  if (view.seen.State?.OOMKilled === true && !clean) return { state: "failed", error: howItEnded(view) };
  return { state: clean ? "exited" : "failed", error: record?.ended === undefined && clean ? undefined : (record?.ended?.error ?? (clean ? undefined : howItEnded(view))) };
}

/** The engine's exit codes in words; an out-of-memory kill is said plainly, because its cure is another number in the spec. */
export function howItEnded({ seen, spec }: View): string {
  const code = seen.State?.ExitCode ?? -1;
  if (seen.State?.OOMKilled === true) {
    const limit = spec?.resources?.memory_bytes;
    return `was killed: out of memory${limit === undefined ? "" : ` (its limit is ${Math.round(limit / 1_048_576)} MiB)`}`;
  }
  const words = exitText({ code, at: 0 });
  const signal = code > 128 && code < 160 ? SIGNALS[code - 128] : undefined;
  return signal === undefined ? words : `${words} (${signal})`;
}

const SIGNALS: Readonly<Record<number, string>> = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM" };

/** One whose container is not there any more though nobody asked us to remove it. */
export function goneObserved(record: ContainerRecord): ObservedComponent {
  const stopped = record.stop !== undefined;
  return {
    labels: record.labels, state: stopped ? "stopped" : "failed", restarts: record.restarts, ports: {}, since: record.stop?.at ?? 0,
    error: "its container was removed by somebody else", ...(stopped ? {} : { drift: ["its container was removed"] }),
  };
}
