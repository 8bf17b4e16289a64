/** Events and a ledger of alerts that behaves as the store's does, for tests of what is decided. */
import {
  decideAlerts, instant, isTouched, resolveAlerts, touchOf,
  type AlertDecision, type AlertId, type AlertNotice, type AlertRecord, type EventRecord, type Instant, type NewEvent,
} from "../src/index.ts";

export const COOL_MS = 900_000;

const SUBJECTS = { hostId: "h1", deploymentId: "d1", placementId: "p1", lifecycleId: "l1" } as const;
/** An event about everything there is one of, unless told otherwise. */
export const event = (kind: string, patch: Partial<Record<keyof NewEvent | "at" | "hostName", unknown>> = {}): EventRecord =>
  ({ kind, severity: "warning", message: `message of ${kind}`, cursor: "c", at: instant(0), hostName: "web-01", ...SUBJECTS, ...patch }) as EventRecord;

export class AlertLedger {
  readonly alerts = new Map<string, AlertRecord>();
  readonly notices: (AlertNotice & { readonly at: Instant })[] = [];
  warmAt = instant(0);
  #made = 0;

  look(now: number, ...events: readonly EventRecord[]): string[] {
    const stamped = events.map((one) => ({ ...one, at: instant(one.at === 0 ? now : one.at) }));
    const touch = touchOf(stamped);
    const known = [...this.alerts.values()].filter((alert) =>
      (alert.notifyAt !== undefined && alert.notifyAt <= now) ||
      (alert.state === "firing" && (touch.hosts.includes(alert.hostId ?? "") || touch.deployments.includes(alert.deploymentId ?? "") || touch.placements.includes(alert.placementId ?? "") || touch.lifecycles.includes(alert.lifecycleId ?? ""))) ||
      (touch.keys.includes(alert.key) && (alert.state === "firing" || Math.max(alert.lastAt, alert.resolvedAt ?? 0, alert.notifiedAt ?? 0) > now - COOL_MS)));
    if (!isTouched(touch) && known.length === 0) return [];
    return this.#apply(now, decideAlerts({ events: stamped, known, deployments: new Map([["d1" as never, "shop"]]) }, this.#moment(now), () => `a${String(++this.#made).padStart(6, "0")}` as AlertId));
  }

  end(now: number, because: string): string[] {
    return this.#apply(now, resolveAlerts(this.firing().map((alert) => ({ alert, because })), this.#moment(now)));
  }

  acknowledge(now: number): void {
    for (const alert of this.firing()) this.alerts.set(alert.id, { ...alert, acknowledgedAt: instant(now), acknowledgedBy: "token:1", version: alert.version + 1 });
  }

  firing(rule?: string): AlertRecord[] {
    return [...this.alerts.values()].filter((alert) => alert.state === "firing" && (rule === undefined || alert.rule === rule));
  }

  #moment(now: number) {
    return { now: instant(now), coolDownMs: COOL_MS, warmAt: this.warmAt };
  }

  #apply(now: number, { inserts, updates, notices }: AlertDecision): string[] {
    for (const alert of inserts) this.alerts.set(alert.id, { ...alert, version: 1 });
    for (const alert of updates) {
      if (this.alerts.get(alert.id)?.version !== alert.version) throw new Error(`${alert.key} was written at a version that is not there`);
      this.alerts.set(alert.id, { ...alert, version: alert.version + 1 });
    }
    const keys = this.firing().map((alert) => alert.key);
    if (new Set(keys).size !== keys.length) throw new Error(`two alerts of one key fire: ${keys.join(" ")}`);
    for (const notice of notices) {
      if (this.alerts.get(notice.alert.id)?.version !== notice.alert.version) throw new Error("a notice with another version than the ledger's");
      this.notices.push({ ...notice, at: instant(now) });
    }
    return notices.map(({ type, alert }) => `${type} ${alert.rule}`);
  }
}
