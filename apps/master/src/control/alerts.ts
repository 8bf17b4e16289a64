/**
 * The alert pass: reads events after the cursor and makes alerts of them, as core decides. The cursor, the alerts and
 * what is to be told of them are written in one transaction, behind a compare-and-set on the cursor: of any number of
 * masters one takes each page, and one that is killed in the middle has taken nothing.
 */
import {
  addMs, decideAlerts, isTouched, resolveAlerts, rulesOpenedBy, SkepError, toIso, touchOf, uuidv7, wantsAlert,
  type AlertCursor, type AlertDecision, type AlertId, type AlertMoment, type DeploymentId, type EventRecord, type Instant, type Tx, type WebhookDeliveryId,
} from "@skep/core";
import { alertJson } from "../http/views/alert.ts";
import type { ControlDeps } from "../ports.ts";
import { createStanding, type Over } from "./alert-standing.ts";

const PAGE = 500;
/** Notices that were put off and are due, in one look. */
const DUE = 200;
/** A burst is worked off in one pass up to here; the next pass goes on. */
const MAX_PAGES = 20;

export interface AlertCounts {
  events: number;
  /** Alerts that were made or changed. */
  alerts: number;
  notices: number;
}

export interface AlertSettings {
  readonly coolDownMs: number;
  readonly listeningSince: () => Instant;
  /** Deliveries were written. */
  readonly wake: () => void;
}

export function createAlerts(deps: ControlDeps, settings: AlertSettings): { alertOnce(): Promise<AlertCounts> } {
  const { store } = deps;
  const standing = createStanding(deps);
  const momentAt = (now: Instant): AlertMoment => ({ now, coolDownMs: settings.coolDownMs, warmAt: addMs(settings.listeningSince(), deps.timings.warmUpMs) });

  const inTurn = <T>(held: AlertCursor, cursor: string, work: (tx: Tx, now: Instant) => Promise<T>): Promise<T | undefined> =>
    store.transaction(async (tx) => ((await tx.casAlertCursor(held.version, cursor)) ? work(tx, await tx.now()) : undefined), { pool: "background" });

  const write = async (tx: Tx, { inserts, updates, notices }: AlertDecision, counts: AlertCounts): Promise<void> => {
    await tx.insertAlerts(inserts);
    for (const alert of updates) if (!(await tx.casAlert(alert))) throw new SkepError("request_in_progress", "a locked alert changed", { retryAfterMs: 100 });
    counts.alerts += inserts.length + updates.length;
    counts.notices += notices.length;
    if (notices.length === 0) return;
    const webhooks = (await tx.listWebhooks()).filter((webhook) => webhook.enabled);
    await tx.insertWebhookDeliveries(notices.flatMap(({ type, alert }) => {
      const body = { type: `alert.${type}`, title: alert.title, alert: alertJson(alert) };
      return webhooks.filter(({ filter }) => wantsAlert(filter, alert)).map((webhook) => ({ id: uuidv7(deps.clock.now(), deps.rng) as WebhookDeliveryId, webhookId: webhook.id, alertId: alert.id, body }));
    }));
  };

  const take = (held: AlertCursor, cursor: string, events: readonly EventRecord[], counts: AlertCounts): Promise<boolean | undefined> =>
    inTurn(held, cursor, async (tx, now) => {
      const touch = touchOf(events);
      if (isTouched(touch) || held.noticeDue) {
        const moment = momentAt(now);
        const known = await tx.lockAlerts(touch, addMs(now, -moment.coolDownMs), DUE);
        const deployments = await namesOf(tx, events);
        await write(tx, decideAlerts({ events, known, deployments }, moment, () => uuidv7(deps.clock.now(), deps.rng) as AlertId), counts);
      }
      counts.events += events.length;
      return true;
    });

  /** The subjects of these are well as they are looked at; locked and looked at again, because both may move. */
  const end = async (over: readonly Over[], counts: AlertCounts): Promise<void> => {
    const held = await store.alertCursor();
    if (held === undefined || over.length === 0) return;
    await inTurn(held, held.cursor, async (tx, now) => {
      const still: Over[] = [];
      for (const { alert: { id } } of over) {
        const alert = await tx.lockAlert(id);
        const because = alert === undefined ? undefined : await standing.whyOver(tx, alert);
        if (alert !== undefined && because !== undefined) still.push({ alert, because });
      }
      await write(tx, resolveAlerts(still, momentAt(now)), counts);
    });
  };

  /** Events that nobody can read any more: said, and what fires is held against what is the case. */
  const skip = async (held: AlertCursor): Promise<void> => {
    const head = await store.eventHead();
    const done = await inTurn(held, head, async (tx, now) => {
      await tx.appendEvent({
        kind: "alert.skipped", severity: "warning",
        message: `events after ${held.cursor} were deleted, or are another database's, before alerts were made of them: alerts go on with what happens from ${toIso(now)}, and what fires is held against the present state`,
        data: { cursor: held.cursor, head },
      });
      return true;
    });
    if (done !== true) return;
    deps.logger.warn({ cursor: held.cursor, head }, "the alert cursor had expired: it goes on from the head");
    standing.lookAtAll();
  };

  return {
    async alertOnce() {
      const counts: AlertCounts = { events: 0, alerts: 0, notices: 0 };
      for (let page = 0; page < MAX_PAGES; page++) {
        const held = await store.alertCursor();
        if (held === undefined) {
          // The first look ever: nobody is alarmed about history.
          const head = await store.eventHead();
          await store.transaction((tx) => tx.casAlertCursor(0, head), { pool: "background" });
          break;
        }
        const events = await store.readEvents(held.cursor, PAGE);
        if (events.kind === "expired") {
          await skip(held);
          break;
        }
        if (events.events.length === 0 && !held.noticeDue) break;
        if ((await take(held, events.next, events.events, counts)) !== true || events.events.length < PAGE) break;
      }
      await end(await standing.lookAround(), counts);
      if (counts.notices > 0) settings.wake();
      return counts;
    },
  };
}

/** Of the deployments about which an alert may be made. */
async function namesOf(tx: Tx, events: readonly EventRecord[]): Promise<ReadonlyMap<DeploymentId, string>> {
  const names = new Map<DeploymentId, string>();
  for (const id of new Set(events.filter((event) => rulesOpenedBy(event).length > 0).map((event) => event.deploymentId))) {
    const found = id === undefined ? undefined : await tx.findDeployment(id);
    if (found !== undefined) names.set(found.id, found.name);
  }
  return names;
}
