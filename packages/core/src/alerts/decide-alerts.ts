/**
 * From events to alerts and to who is told. Two things are kept apart: what is the case (firing or resolved, moved by
 * events) and what receivers believe (`told`, moved by notices). Events of one look are applied first and notices are
 * decided once, from the difference: what came and went between two looks troubles nobody, and nothing is told twice.
 */
import type { AlertId, DeploymentId } from "../ids.ts";
import type { EventRecord } from "../ports/records.ts";
import { addMs, MINUTE_MS, type Instant } from "../time.ts";
import type { AlertProgress, AlertRecord, NewAlert, NoticeType } from "./record.ts";
import { alertKey, alertRule, rulesOpenedBy, subjectId, subjectsEndedBy, type AlertRule, type AlertSubject } from "./rules.ts";

/** Which alerts a page of events can concern: the firing ones by their subjects, and the last one of each key that it can open. */
export interface AlertTouch {
  readonly keys: readonly string[];
  readonly hosts: readonly string[];
  readonly deployments: readonly string[];
  readonly placements: readonly string[];
  readonly lifecycles: readonly string[];
}

/** Receivers are told of the same thing again only after this. */
export const DEFAULT_ALERT_COOL_DOWN_MS = 15 * MINUTE_MS;

export interface AlertMoment {
  readonly now: Instant;
  /** Between two notices that the same thing fires. */
  readonly coolDownMs: number;
  /** Nobody is told before this of what follows from silence: the master has only begun to listen. */
  readonly warmAt: Instant;
}

export interface AlertNotice {
  readonly type: NoticeType;
  readonly alert: AlertRecord;
}

export interface AlertDecision {
  readonly inserts: readonly NewAlert[];
  /** With the version they were read at. */
  readonly updates: readonly AlertRecord[];
  /** With the version each alert has once it is written. */
  readonly notices: readonly AlertNotice[];
}

export function touchOf(events: readonly EventRecord[]): AlertTouch {
  const keys = new Set<string>();
  const ids: Record<AlertSubject, Set<string>> = { host: new Set(), deployment: new Set(), placement: new Set(), lifecycle: new Set() };
  for (const event of events) {
    for (const rule of rulesOpenedBy(event)) {
      const key = alertKey(rule, event);
      if (key !== undefined) keys.add(key);
    }
    for (const subject of subjectsEndedBy(event.kind)) {
      const id = subjectId(subject, event);
      if (id !== undefined) ids[subject].add(id);
    }
  }
  return { keys: [...keys], hosts: [...ids.host], deployments: [...ids.deployment], placements: [...ids.placement], lifecycles: [...ids.lifecycle] };
}

export const isTouched = (touch: AlertTouch): boolean => Object.values(touch).some((ids: readonly string[]) => ids.length > 0);

interface Draft {
  /** Undefined = it is new. */
  readonly read: AlertRecord | undefined;
  alert: AlertRecord;
  /** Opened or said again by this look. */
  again: boolean;
}

/**
 * `known`: what `touchOf` asks for, and alerts whose notice is due. Of several resolved ones of a key the newest counts.
 * A key that opens again within the cool-down goes on with its alert; later it is a new one.
 */
export function decideAlerts(
  { events, known, deployments }: { readonly events: readonly EventRecord[]; readonly known: readonly AlertRecord[]; readonly deployments: ReadonlyMap<DeploymentId, string> },
  moment: AlertMoment,
  newId: () => AlertId,
): AlertDecision {
  const drafts = new Map<string, Draft>();
  for (const alert of [...known].sort((a, b) => a.lastAt - b.lastAt)) {
    if (drafts.get(alert.key)?.alert.state !== "firing") drafts.set(alert.key, { read: alert, alert, again: false });
  }

  for (const event of events) {
    // What an event ends is ended before what it opens is opened: a host that is unreachable is no longer suspect.
    for (const draft of drafts.values()) if (ends(draft.alert, event)) draft.alert = resolved(draft.alert, event.at, wordsOf(event));
    for (const rule of rulesOpenedBy(event)) {
      const key = alertKey(rule, event);
      if (key === undefined) continue;
      const draft = drafts.get(key);
      if (draft === undefined || (draft.alert === draft.read && isPast(draft.alert, event.at, moment.coolDownMs))) {
        drafts.set(key, { read: undefined, alert: opened(rule, key, event, deployments, newId()), again: true });
        continue;
      }
      draft.alert = { ...draft.alert, state: "firing", kind: event.kind, message: wordsOf(event), count: draft.alert.count + 1, lastAt: event.at, resolvedAt: undefined, resolvedBecause: undefined };
      draft.again = true;
    }
  }
  return settle([...drafts.values()], moment);
}

/** The end of alerts that nobody's event ended: their subject is well as it is looked at. */
export function resolveAlerts(over: readonly { readonly alert: AlertRecord; readonly because: string }[], moment: AlertMoment): AlertDecision {
  return settle(over.map(({ alert, because }) => ({ read: alert, alert: resolved(alert, moment.now, because), again: false })), moment);
}

function settle(drafts: readonly Draft[], moment: AlertMoment): AlertDecision {
  const inserts: NewAlert[] = [];
  const updates: AlertRecord[] = [];
  const notices: AlertNotice[] = [];
  for (const { read, alert: drafted, again } of drafts) {
    const { patch, type } = decideNotice(drafted, again, moment);
    const alert = { ...drafted, ...patch };
    if (read === undefined) {
      const { version: _, ...fresh } = alert;
      inserts.push(fresh);
    } else if (type !== undefined || drafted !== read || patch.notifyAt !== read.notifyAt) updates.push(alert);
    if (type !== undefined) notices.push({ type, alert: { ...alert, version: read === undefined ? 1 : read.version + 1 } });
  }
  return { inserts, updates, notices };
}

type NoticePatch = Pick<AlertProgress, "told" | "notifiedAt" | "notifyAt">;

/** What receivers are to be told now, given what they believe. */
function decideNotice(alert: AlertRecord, again: boolean, { now, coolDownMs, warmAt }: AlertMoment): { readonly patch: NoticePatch; readonly type?: NoticeType } {
  const { told, notifiedAt } = alert;
  if (alert.state === "resolved") return told ? { type: "resolved", patch: { told: false, notifiedAt, notifyAt: undefined } } : { patch: { told, notifiedAt, notifyAt: undefined } };
  const cool = notifiedAt === undefined ? now : addMs(notifiedAt, coolDownMs);
  const notice = { told: true, notifiedAt: now, notifyAt: undefined };
  if (told) return again && alert.acknowledgedAt === undefined && cool <= now ? { type: "reminder", patch: notice } : { patch: { told, notifiedAt, notifyAt: undefined } };
  // It came back within the cool-down, or is heard of by silence alone: if it is still so later, they are told then.
  const due = alertRule(alert.rule)?.bySilence === true && warmAt > cool ? warmAt : cool;
  return due <= now ? { type: "firing", patch: notice } : { patch: { told, notifiedAt, notifyAt: due } };
}

/** Agents have a part in what events say; what leaves for receivers has an end. */
const MAX_WORDS = 2_000;
const wordsOf = ({ message }: EventRecord): string => (message.length > MAX_WORDS ? `${message.slice(0, MAX_WORDS)}…` : message);

function ends(alert: AlertRecord, event: EventRecord): boolean {
  if (alert.state !== "firing") return false;
  const subject = alertRule(alert.rule)?.resolvesOn[event.kind];
  if (subject === undefined) return false;
  const id = subjectId(subject, event);
  return id !== undefined && id === subjectId(subject, alert);
}

const resolved = (alert: AlertRecord, at: Instant, because: string): AlertRecord =>
  ({ ...alert, state: "resolved", resolvedAt: at, resolvedBecause: because, acknowledgedAt: undefined, acknowledgedBy: undefined });

const isPast = (alert: AlertRecord, at: Instant, coolDownMs: number): boolean =>
  alert.state === "resolved" && Math.max(alert.lastAt, alert.resolvedAt ?? 0, alert.notifiedAt ?? 0) + coolDownMs <= at;

function opened(rule: AlertRule, key: string, event: EventRecord, deployments: ReadonlyMap<DeploymentId, string>, id: AlertId): AlertRecord {
  const deployment = event.deploymentId === undefined ? undefined : deployments.get(event.deploymentId);
  const { hostId, hostName: host, deploymentId, placementId, lifecycleId } = event;
  const names = { host: host ?? hostId ?? "its host", deployment: deployment ?? deploymentId ?? "its deployment", lifecycle: lifecycleId ?? "its row" };
  const about = [...(deploymentId === undefined ? [] : [names.deployment]), ...(hostId === undefined ? [] : [names.host])].join(" on ");
  return {
    id, key, rule: rule.name, severity: rule.severity, title: about === "" ? rule.title : `${rule.title}: ${about}`, next: rule.next(names),
    hostId, host, deploymentId, deployment, placementId, lifecycleId, firstAt: event.at,
    state: "firing", kind: event.kind, message: wordsOf(event), count: 1, lastAt: event.at, resolvedAt: undefined, resolvedBecause: undefined,
    told: false, notifiedAt: undefined, notifyAt: undefined, acknowledgedAt: undefined, acknowledgedBy: undefined, version: 0,
  };
}
