/**
 * A host's health as one word with its reasons. Pure, and read-only by construction: asking how a host is must never
 * change how it is (defect 4-15). Every reason says what to do next; a word without a reason would be an opinion.
 * Which hosts may have a reason is asked of the store, too, where all are too many to judge: packages/store/src/attention.ts.
 */
import type { BootReport } from "../agent/boot.ts";
import type { AgentPhase } from "../agent/decide-admission.ts";
import type { HostLiveness, HostRecord, HostReport } from "../ports/records.ts";
import type { CircuitView } from "../breaker/breaker.ts";
import type { Reachability } from "../reachability/record.ts";
import { DAY_MS, addMs, type Instant, type Timings } from "../time.ts";
import { seconds } from "./decide-host.ts";

/** Why something is as it is, and what a person can do about it. */
export interface Reason {
  readonly code: string;
  readonly message: string;
  readonly next: string;
  /** Since when, where that is known. */
  readonly since?: Instant | undefined;
}

export type HealthSummary = "healthy" | "degraded" | "unhealthy" | "unknown";

export interface HealthFacts {
  readonly host: Pick<HostRecord, "name" | "status" | "statusBecause" | "schedulable" | "lastProbe" | "createdAt" | "enrolledAt" | "decommissionedAt">;
  readonly liveness: Pick<HostLiveness, "lastHeartbeatAt" | "phase"> | undefined;
  readonly report: Pick<HostReport, "resources" | "observedError" | "receivedAt" | "boot"> | undefined;
  /** What the prober sees; undefined = nobody asks this host. */
  readonly reachability: Pick<Reachability, "state" | "changedAt" | "lastError" | "consecutiveFailures" | "flapping"> | undefined;
  /** This master's breaker for the host. */
  readonly circuit: CircuitView;
  /** The newest certificate that admits the host. */
  readonly cert: { readonly notBefore: Instant; readonly notAfter: Instant } | undefined;
  readonly placements: PlacementCounts;
  /** When this master began to listen: silence before that says nothing. */
  readonly listeningSince: Instant;
  readonly now: Instant;
  readonly timings: Timings;
}

export interface PlacementCounts {
  /** All that are not removed; the others below are some of them. */
  readonly total: number;
  readonly running: number;
  readonly degraded: number;
  readonly failed: number;
  readonly unknown: number;
}

export interface Health {
  readonly health: HealthSummary;
  /** Age of the last heartbeat, ms of database time; undefined = never heard. */
  readonly ageMs: number | undefined;
  /** Whole intervals without a beat. */
  readonly missed: number;
  /** The most telling first. */
  readonly reasons: readonly Reason[];
}

/** Too large warns about disks that are fine; too small warns when the journal can no longer be written. */
export const DISK_LOW_SHARE = 0.1;
export const CERT_WARN_DAYS = 30;
/** Agents renew at two thirds of a certificate's life; with less than a quarter left a renewal has failed. */
export const CERT_WARN_SHARE = 0.25;

export function decideHealth(facts: HealthFacts): Health {
  const { host, liveness, now, timings } = facts;
  const ageMs = liveness === undefined ? undefined : Math.max(0, now - liveness.lastHeartbeatAt);
  const missed = ageMs === undefined ? 0 : Math.floor(ageMs / timings.heartbeatIntervalMs);
  // A probe made before the last beat says nothing about now: the beat is newer truth.
  const probe = host.lastProbe !== undefined && (liveness === undefined || host.lastProbe.at >= liveness.lastHeartbeatAt) ? host.lastProbe : undefined;
  const reasons = [...presence(facts, ageMs, probe), ...networkReasons(facts), ...phaseReasons(facts), ...conditions(facts)];
  return { health: summarise(facts, reasons), ageMs, missed, reasons };
}

/** Worth a sentence and no sign of illness: an operator's own decision, and this master's own youth. */
const HARMLESS = new Set(["cordoned", "warming_up"]);

function summarise({ host }: HealthFacts, reasons: readonly Reason[]): HealthSummary {
  switch (host.status) {
    case "pending":
    case "enrolled":
    case "decommissioned":
      return "unknown";
    case "unreachable":
      return "unhealthy";
    case "suspect":
      return "degraded";
    case "active":
      return reasons.some((reason) => !HARMLESS.has(reason.code)) ? "degraded" : "healthy";
  }
}

function presence({ host, liveness, listeningSince, now, timings }: HealthFacts, ageMs: number | undefined, probe: HostRecord["lastProbe"]): Reason[] {
  switch (host.status) {
    case "decommissioned":
      return [{ code: "decommissioned", message: "This host was decommissioned; nothing it says is accepted.", next: "To bring the machine back, enrol it as a new host: skep host add.", since: host.decommissionedAt }];
    case "pending":
      return [{ code: "not_enrolled", message: "Its enrolment bundle has not been redeemed yet.", next: `On the host run: skep agent enrol ${host.name}.skep. A lost or expired bundle is replaced with: skep host bundle ${host.name}.`, since: host.createdAt }];
    case "enrolled":
      return [{ code: "never_heard", message: "It has a certificate and has not sent a heartbeat yet.", next: "Start the agent on the host (skep agent) and check that it reaches the master's agent port.", since: host.enrolledAt }];
    case "active":
    case "suspect":
    case "unreachable":
      break;
  }
  if (ageMs === undefined || liveness === undefined) return [{ code: "never_heard", message: "No heartbeat is on record.", next: "Start the agent on the host and check that it reaches the master's agent port." }];
  if (ageMs <= timings.suspectAfterMs) return [];
  const since = liveness.lastHeartbeatAt;
  const age = seconds(ageMs);
  const reasons: Reason[] = [];
  if (now - listeningSince < timings.warmUpMs) {
    reasons.push({ code: "warming_up", message: `This master has listened for only ${seconds(now - listeningSince)}; silence before that says nothing.`, next: `Look again in ${seconds(timings.warmUpMs - (now - listeningSince))}.`, since: listeningSince });
  }
  if (probe?.ok === true) {
    reasons.push({ code: "heartbeat_lost_but_reachable", message: `No heartbeat for ${age}, yet the agent answers when asked.`, next: "Check the way from the host to the master's agent port (firewall, DNS, proxy): the other direction works.", since });
  } else if (host.status === "unreachable") {
    reasons.push({ code: "unreachable", message: `No heartbeat for ${age}${probe === undefined ? "" : `, and asking it failed: ${probe.error ?? "no answer"}`}. What runs there is unknown.`, next: "Check the machine, its network and its agent. Nothing is deleted; it becomes active with its next heartbeat.", since });
  } else {
    reasons.push({ code: "heartbeat_late", message: `The last heartbeat is ${age} old; one is expected every ${seconds(timings.heartbeatIntervalMs)}.`, next: `Wait, or ask it directly: POST /v1/hosts/check. It gets no new placements until it beats.`, since });
  }
  return reasons;
}

/** The way from the masters to the host, for hosts that are somewhere. */
function networkReasons({ host, reachability, circuit, now }: HealthFacts): Reason[] {
  if (host.status === "pending" || host.status === "decommissioned") return [];
  const reasons: Reason[] = [];
  if (reachability?.state === "unreachable") {
    reasons.push({
      code: "network_unreachable", message: `Masters get no answer from it${reachability.consecutiveFailures === 0 ? "" : ` (probes failed in a row: ${reachability.consecutiveFailures})`}: ${reachability.lastError ?? "no answer"}.`,
      next: "Check the way from the master to the agent's port (firewall, NAT, agent_url). Queued work still reaches it with its heartbeats.", since: reachability.changedAt,
    });
  }
  if (reachability?.flapping === true) {
    reasons.push({ code: "flapping", message: "It is reachable and unreachable by turns.", next: "Look for a link, a switch or an agent that comes and goes: skep events --host " + host.name + "." });
  }
  if (circuit.state !== "closed") {
    const since = circuit.openedForMs === undefined ? undefined : addMs(now, -circuit.openedForMs);
    reasons.push(circuit.cause === "identity"
      ? { code: "circuit_open", message: `This master refuses to call it: ${circuit.because ?? "whoever answers there is not the pinned host"}.`, next: `Find out who answers at its address. If the host was rebuilt: skep host bundle ${host.name}; if all is well: skep host breaker-reset ${host.name}.`, since }
      : { code: "circuit_open", message: `This master has stopped calling it after ${circuit.consecutiveFailures} failures in a row: ${circuit.because ?? "no answer"}.`, next: `It tries again by itself${circuit.retryInMs === undefined ? "" : ` in ${seconds(circuit.retryInMs)}`}; at once with: skep host breaker-reset ${host.name}.`, since });
  }
  return reasons;
}

function phaseReasons({ liveness, report }: HealthFacts): Reason[] {
  const since = liveness?.lastHeartbeatAt;
  const boot = report?.boot;
  const phase: AgentPhase | undefined = liveness?.phase;
  switch (phase) {
    case undefined:
      return [];
    case "ready":
      if (boot?.state !== "degraded") return [];
      return [{ code: "boot_degraded", message: `Its boot went on without what was not healthy in time, and is not yet: ${illOf(boot)}.`, next: "See why: skep status DEPLOYMENT, skep logs DEPLOYMENT. It is repaired like any other placement; this word goes when it is healthy.", since }];
    case "booting":
      if (boot?.state === "blocked") {
        return [{ code: "boot_blocked", message: `Its boot waits at stage ${boot.stage ?? "?"}, a foundation: ${illOf(boot)}.`, next: "Mend what is named on the host; the agent tries again by itself, and takes no commands until then. A wrong stage is corrected in the agent's configuration file (kill -HUP reads it again).", since }];
      }
      return [{ code: "agent_booting", message: `The agent is booting${boot === undefined || boot.stage === null ? "" : `, at stage ${boot.stage}${illOf(boot) === "" ? "" : ` (${illOf(boot)})`},`} and takes no commands yet.`, next: "Wait: queued work is offered again when it is ready. If it stays so, read the agent's log.", since }];
    case "draining":
    case "stopping":
      return [{ code: "agent_stopping", message: `The agent is ${phase} and takes no new commands.`, next: "Start the agent again; queued work is kept.", since }];
  }
}

const illOf = (boot: BootReport): string => boot.members.filter((member) => !member.healthy).map(({ name, error }) => `${name}: ${error ?? "not healthy"}`).join("; ").slice(0, 1_000);

function conditions({ host, report, cert, placements, now }: HealthFacts): Reason[] {
  const reasons: Reason[] = [];
  if (report?.observedError !== undefined) {
    reasons.push({ code: "observation_failed", message: `The agent could not look at its workloads: ${report.observedError}`, next: "Read the agent's log on the host. Until it can look, the last observation stands and is getting old.", since: report.receivedAt });
  }
  const free = report?.resources?.["disk_free_bytes"];
  const size = report?.resources?.["disk_bytes"];
  if (free !== undefined && size !== undefined && size > 0 && free / size < DISK_LOW_SHARE) {
    reasons.push({ code: "disk_low", message: `Only ${(100 * free / size).toFixed(1)} % of its disk is free.`, next: "Free space on the host: an agent that cannot write its journal refuses all work." });
  }
  if (placements.failed > 0) {
    reasons.push({ code: "placements_failed", message: `${placements.failed} placement(s) on it are failed.`, next: `See which: skep host show ${host.name}, then skep explain placement ID.` });
  }
  if (cert !== undefined && host.status !== "decommissioned") {
    const left = cert.notAfter - now;
    const due = left <= CERT_WARN_DAYS * DAY_MS && left <= CERT_WARN_SHARE * (cert.notAfter - cert.notBefore);
    if (left <= 0) {
      reasons.push({ code: "cert_expired", message: "Its certificate has expired; it is refused.", next: `Re-issue its bundle: skep host bundle ${host.name}, and enrol it again.`, since: cert.notAfter });
    } else if (due) {
      reasons.push({ code: "cert_expiring", message: `Its certificate ends in ${(left / DAY_MS).toFixed(1)} days.`, next: `The agent should have renewed it by now; read its log. To ask again: skep host rotate ${host.name}.` });
    }
  }
  if (!host.schedulable && host.status !== "decommissioned") {
    reasons.push({ code: "cordoned", message: "An operator cordoned it: it gets no new placements.", next: `Open it again: skep host uncordon ${host.name}.` });
  }
  return reasons;
}
