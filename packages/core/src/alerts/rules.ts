/**
 * Which events are alerts. A rule names the events that open it and those that end it; the subject is the id that both
 * share, so that one host's return never closes another's alert. An event that no rule names is no alert.
 */
import type { EventSeverity, NewEvent } from "../ports/records.ts";

export type AlertSubject = "host" | "deployment" | "placement" | "lifecycle";

/** Names where they are known, ids otherwise: commands take both. */
export interface AlertNames {
  readonly host: string;
  readonly deployment: string;
  readonly lifecycle: string;
}

export interface AlertRule {
  readonly name: string;
  readonly severity: EventSeverity;
  readonly title: string;
  /** The first of these that the opening event names makes the key. */
  readonly subject: readonly AlertSubject[];
  readonly opensOn: readonly string[];
  /** Events of severity info do not open it: they tell of what a person did. */
  readonly unlessInfo?: true;
  /** Which events end it, and what they must share with it. */
  readonly resolvesOn: Readonly<Record<string, AlertSubject>>;
  /** Follows from not having heard a host: nobody is told of it by a master that has only begun to listen (B20). */
  readonly bySilence?: true;
  /** What a person does next: a command where there is one. */
  readonly next: (names: AlertNames) => string;
}

/** A host that is gone for good takes every alert about it along. */
const HOST_GONE = { "host.decommissioned": "host" } as const;
const DEPLOYMENT_GONE = { "deployment.torn_down": "deployment" } as const;
const PLACEMENT_GONE = { "placement.dropped": "placement", ...DEPLOYMENT_GONE, ...HOST_GONE } as const;
const ROW_ENDED = { "lifecycle.running": "lifecycle", "lifecycle.succeeded": "lifecycle", "lifecycle.failed": "lifecycle", "lifecycle.cancelled": "lifecycle", "lifecycle.superseded": "lifecycle", ...HOST_GONE } as const;

export const ALERT_RULES: readonly AlertRule[] = [
  {
    name: "host_unreachable", severity: "error", title: "Host unreachable", subject: ["host"], bySilence: true,
    opensOn: ["host.unreachable"], resolvesOn: { "host.active": "host", ...HOST_GONE },
    next: ({ host }) => `skep explain host ${host}`,
  },
  {
    name: "host_suspect", severity: "warning", title: "Host silent", subject: ["host"], bySilence: true,
    opensOn: ["host.suspect"], resolvesOn: { "host.active": "host", "host.unreachable": "host", ...HOST_GONE },
    next: ({ host }) => `skep explain host ${host}`,
  },
  {
    name: "host_network_unreachable", severity: "warning", title: "Host cannot be dialled", subject: ["host"],
    opensOn: ["host.network_unreachable"], resolvesOn: { "host.network_reachable": "host", ...HOST_GONE },
    next: ({ host }) => `skep host check ${host}`,
  },
  {
    name: "host_flapping", severity: "warning", title: "Host flapping", subject: ["host"],
    opensOn: ["host.flapping"], resolvesOn: { "host.settled": "host", ...HOST_GONE },
    next: ({ host }) => `skep host cordon ${host}, then skep explain host ${host}`,
  },
  {
    name: "breaker_open", severity: "warning", title: "Calls to host stopped", subject: ["host"],
    opensOn: ["breaker.opened"], resolvesOn: { "breaker.closed": "host", "breaker.reset": "host", ...HOST_GONE },
    next: ({ host }) => `skep health ${host}`,
  },
  {
    name: "identity_mismatch", severity: "error", title: "Somebody else answers for host", subject: ["host"],
    opensOn: ["host.identity_mismatch"], resolvesOn: { "breaker.closed": "host", "breaker.reset": "host", "host.enrolled": "host", ...HOST_GONE },
    next: ({ host }) => `find out who answers at the address of ${host}; if it was rebuilt: skep host bundle ${host}, and enrol it again`,
  },
  {
    name: "boot_blocked", severity: "error", title: "Boot blocked", subject: ["host"],
    opensOn: ["boot.blocked"], resolvesOn: { "boot.degraded": "host", "boot.complete": "host", ...HOST_GONE },
    next: ({ host }) => `skep health ${host}, then mend what its boot waits for on the host itself`,
  },
  {
    name: "boot_degraded", severity: "warning", title: "Boot went on without a member", subject: ["host"],
    opensOn: ["boot.degraded"], resolvesOn: { "boot.complete": "host", "boot.blocked": "host", ...HOST_GONE },
    next: ({ host }) => `skep health ${host}`,
  },
  {
    name: "enrolment_token_misused", severity: "error", title: "Enrolment token misused", subject: ["host"],
    opensOn: ["host.token_burned", "host.token_replay"], resolvesOn: { "host.bundle_issued": "host", ...HOST_GONE },
    next: ({ host }) => `find out who holds the bundle of ${host}, then skep host bundle ${host}`,
  },
  {
    name: "operation_failed", severity: "warning", title: "Operation failed", subject: ["placement"],
    opensOn: ["lifecycle.failed"], resolvesOn: { "lifecycle.succeeded": "placement", "deployment.active": "deployment", ...PLACEMENT_GONE },
    next: ({ lifecycle }) => `skep explain lifecycle ${lifecycle}`,
  },
  {
    name: "operation_lost", severity: "warning", title: "Outcome unknown", subject: ["lifecycle"], bySilence: true,
    opensOn: ["lifecycle.lost"], resolvesOn: { "lifecycle.needs_decision": "lifecycle", ...ROW_ENDED },
    next: ({ host, lifecycle }) => `wait for ${host}; if it never returns: skep lifecycle resolve ${lifecycle}`,
  },
  {
    name: "operation_needs_decision", severity: "warning", title: "Outcome unknown, a person may have to decide", subject: ["lifecycle"], bySilence: true,
    opensOn: ["lifecycle.needs_decision"], resolvesOn: ROW_ENDED,
    next: ({ host, lifecycle }) => `wait for ${host}; if it never returns: skep lifecycle resolve ${lifecycle}`,
  },
  {
    // Not over while it is tried again: "deploying" says nothing of whether it will run.
    name: "deployment_failed", severity: "error", title: "Deployment failed", subject: ["deployment"],
    opensOn: ["deployment.failed", "deployment.teardown_failed"], resolvesOn: { "deployment.active": "deployment", "deployment.degraded": "deployment", ...DEPLOYMENT_GONE },
    next: ({ deployment }) => `skep explain deployment ${deployment}`,
  },
  {
    name: "deployment_degraded", severity: "warning", title: "Deployment degraded", subject: ["deployment"], bySilence: true,
    opensOn: ["deployment.degraded"],
    resolvesOn: { "deployment.active": "deployment", "deployment.failed": "deployment", "deployment.teardown_failed": "deployment", ...DEPLOYMENT_GONE },
    next: ({ deployment }) => `skep explain deployment ${deployment}`,
  },
  {
    name: "crash_loop", severity: "error", title: "Crash loop", subject: ["placement"],
    opensOn: ["placement.crash_loop"], resolvesOn: { "lifecycle.succeeded": "placement", "deployment.active": "deployment", "placement.as_desired": "placement", ...PLACEMENT_GONE },
    next: ({ deployment }) => `skep explain deployment ${deployment}, then change what it runs: skep mutate ${deployment} …`,
  },
  {
    name: "drift", severity: "warning", title: "Differs from what is desired", subject: ["placement"],
    opensOn: ["placement.drift"],
    resolvesOn: { "placement.as_desired": "placement", "placement.crash_loop": "placement", "lifecycle.succeeded": "placement", "deployment.active": "deployment", ...PLACEMENT_GONE },
    next: ({ deployment }) => `skep drift --deployment ${deployment}`,
  },
  {
    name: "rollout_rolling_back", severity: "error", title: "Release is taken back", subject: ["deployment"],
    opensOn: ["rollout.rolling_back"],
    resolvesOn: { "rollout.rolled_back": "deployment", "rollout.failed": "deployment", "rollout.started": "deployment", "rollout.superseded": "deployment", ...DEPLOYMENT_GONE },
    next: ({ deployment }) => `skep rollout status ${deployment}`,
  },
  {
    name: "rollout_failed", severity: "error", title: "Release failed and stays as it is", subject: ["deployment"],
    opensOn: ["rollout.failed"],
    // Not by "deployment.active": what the release has not reached runs on, and that is no release.
    resolvesOn: { "rollout.started": "deployment", "rollout.succeeded": "deployment", ...DEPLOYMENT_GONE },
    next: ({ deployment }) => `skep rollout status ${deployment}, then skep mutate or skep rollback ${deployment}`,
  },
  {
    name: "rollout_paused", severity: "warning", title: "Release waits for a person", subject: ["deployment"], unlessInfo: true,
    opensOn: ["rollout.paused"],
    resolvesOn: {
      "rollout.resumed": "deployment", "rollout.wave": "deployment", "rollout.succeeded": "deployment", "rollout.rolling_back": "deployment", "rollout.failed": "deployment",
      "rollout.superseded": "deployment", "rollout.started": "deployment", ...DEPLOYMENT_GONE,
    },
    next: ({ deployment }) => `skep rollout status ${deployment}, then skep rollout resume ${deployment} or skep rollout abort ${deployment}`,
  },
  {
    name: "drain_blocked", severity: "warning", title: "Drain is blocked", subject: ["host"],
    opensOn: ["host.drain_blocked"], resolvesOn: { "host.draining": "host", "host.drained": "host", "host.drain_cancelled": "host", ...HOST_GONE },
    next: ({ host }) => `skep explain host ${host}, then give its placements somewhere to go, or cancel the drain`,
  },
  {
    name: "move_failed", severity: "warning", title: "Move failed", subject: ["placement", "deployment", "host"],
    opensOn: ["move.failed"], resolvesOn: { "move.started": "placement", "move.succeeded": "placement", "deployment.active": "deployment", "host.drained": "host", "host.drain_cancelled": "host", ...PLACEMENT_GONE },
    next: ({ deployment }) => `skep explain deployment ${deployment}`,
  },
];

const BY_NAME = new Map(ALERT_RULES.map((rule) => [rule.name, rule]));
const OPENERS = new Map<string, AlertRule[]>();
const ENDERS = new Map<string, Set<AlertSubject>>();
for (const rule of ALERT_RULES) {
  for (const kind of rule.opensOn) OPENERS.set(kind, [...(OPENERS.get(kind) ?? []), rule]);
  for (const [kind, subject] of Object.entries(rule.resolvesOn)) ENDERS.set(kind, (ENDERS.get(kind) ?? new Set()).add(subject));
}

/** Undefined for an alert of a rule that a newer or an older Skep has. */
export const alertRule = (name: string): AlertRule | undefined => BY_NAME.get(name);
export const rulesOpenedBy = ({ kind, severity }: Pick<NewEvent, "kind" | "severity">): readonly AlertRule[] =>
  (OPENERS.get(kind) ?? []).filter((rule) => rule.unlessInfo !== true || severity !== "info");
/** By which ids an event of the kind can end alerts. */
export const subjectsEndedBy = (kind: string): ReadonlySet<AlertSubject> => ENDERS.get(kind) ?? new Set();

type Ids = Pick<NewEvent, "hostId" | "deploymentId" | "placementId" | "lifecycleId">;
export const subjectId = (subject: AlertSubject, ids: Ids): string | undefined => ids[`${subject}Id`];
export const alertKey = (rule: AlertRule, event: Ids): string | undefined => {
  for (const subject of rule.subject) {
    const id = subjectId(subject, event);
    if (id !== undefined) return `${rule.name}:${id}`;
  }
  return undefined;
};
