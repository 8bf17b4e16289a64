/**
 * The boot sequence's decisions: which stage is next, what a round of one comes to, when somebody must be told. Pure; the
 * agent's shell starts, waits and asks again. A foundation holds back what stands on it, and never the way out: what only
 * the master could mend does not block the agent that would have to take the master's commands.
 */
import type { Rng } from "../rng.ts";
import type { BootMember, BootReport, BootStage, BootState } from "./boot.ts";

/** Between rounds of a blocked foundation. Shorter hammers what is broken; longer leaves the host down after a cure. */
export const BLOCKED_RETRY_MS = 10_000;
export const BLOCKED_RETRY_CAP_MS = 60_000;
const RETRY_JITTER_SHARE = 0.2;
/** Shorter: people stop reading; longer: a host that nobody noticed stays down that much longer. */
export const BOOT_ALERT_EVERY_MS = 600_000;

export interface MemberOutcome extends BootMember {
  /** Waiting cannot heal it, only a command of the master: it is not deployed here, stopped on request, or its spec is damaged. */
  readonly awaitsMaster?: boolean | undefined;
}

export type StageVerdict =
  | { readonly kind: "healthy" }
  /** The sequence goes on without the unhealthy. */
  | { readonly kind: "proceeded_degraded"; readonly because: string }
  | { readonly kind: "blocked"; readonly retryInMs: number; readonly because: string };

/** At the end of a round: every member healthy, or the deadline passed, or nothing left to wait for. `round` counts from 0. */
export function decideStage({ foundation }: Pick<BootStage, "foundation">, members: readonly MemberOutcome[], round: number, rng: Rng): StageVerdict {
  const ill = members.filter((member) => !member.healthy);
  if (ill.length === 0) return { kind: "healthy" };
  const because = ill.map(({ name, error }) => `${name}: ${error ?? "not healthy"}`).join("; ");
  if (!foundation || ill.every((member) => member.awaitsMaster === true)) return { kind: "proceeded_degraded", because };
  const baseMs = Math.min(BLOCKED_RETRY_CAP_MS, BLOCKED_RETRY_MS * 2 ** Math.min(round, 16));
  return { kind: "blocked", because, retryInMs: baseMs * (1 - RETRY_JITTER_SHARE * rng.float()) };
}

/** How many alerts a block of this length has earned: one at once, another every ten minutes. */
export const bootAlerts = (blockedForMs: number | undefined): number => (blockedForMs === undefined ? 0 : 1 + Math.floor(Math.max(0, blockedForMs) / BOOT_ALERT_EVERY_MS));

/** What became of a stage (defect 1-12: a sequence that "completes" whatever happened tells nobody anything). */
export interface StageResult {
  readonly name: string;
  readonly outcome: "healthy" | "proceeded_degraded";
  readonly members: readonly MemberOutcome[];
  readonly rounds: number;
  readonly ms: number;
}

/** The first stage that was not gone through. By name: stages may be configured anew while one blocks. */
export const nextStage = (stages: readonly BootStage[], results: readonly Pick<StageResult, "name">[]): BootStage | undefined =>
  stages.find((stage) => !results.some((result) => result.name === stage.name));

/** The report's limits (protocol): the ill come first, for they are what somebody looks for. */
const MAX_MEMBERS = 100;
const MAX_ERROR_CHARS = 500;

export interface BootFacts {
  readonly current: { readonly stage: string; readonly state: Extract<BootState, "waiting" | "starting" | "blocked">; readonly members: readonly BootMember[] } | undefined;
  readonly results: readonly StageResult[];
  readonly alerts: number;
}

export function bootReportOf({ current, results, alerts }: BootFacts): BootReport {
  const members = current?.members ?? results.flatMap((result) => result.members);
  return {
    stage: current?.stage ?? null,
    state: current?.state ?? (members.every((member) => member.healthy) ? "complete" : "degraded"),
    members: [...members].sort((a, b) => Number(a.healthy) - Number(b.healthy)).slice(0, MAX_MEMBERS)
      .map(({ name, healthy, error }) => ({ name, healthy, ...(error === undefined ? {} : { error: error.slice(0, MAX_ERROR_CHARS) }) })),
    alerts,
  };
}

export interface BootEvent {
  readonly kind: "boot.blocked" | "boot.degraded" | "boot.complete";
  readonly message: string;
}

/**
 * What is news in a host's report, held against its last one: another state, another stage that blocks, another alert that
 * has become due. The same said again is no event, whoever hears it.
 */
export function decideBootEvent(before: BootReport | undefined, now: BootReport | undefined): BootEvent | undefined {
  if (now === undefined) return undefined;
  const ill = now.members.filter((member) => !member.healthy).map(({ name, error }) => `${name} (${error ?? "not healthy"})`).join(", ");
  switch (now.state) {
    case "waiting":
    case "starting":
      return undefined;
    case "blocked":
      if (before?.state === "blocked" && before.stage === now.stage && before.alerts >= now.alerts) return undefined;
      return { kind: "boot.blocked", message: `its boot waits at stage ${now.stage ?? "?"}, a foundation: ${ill}` };
    case "degraded":
      if (before?.state === "degraded") return undefined;
      return { kind: "boot.degraded", message: `its boot went on without ${ill}` };
    case "complete":
      if (before?.state === "complete") return undefined;
      return { kind: "boot.complete", message: before?.state === "degraded" ? "what its boot went on without is healthy now" : "its boot sequence is complete" };
  }
}
