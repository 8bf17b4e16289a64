/** The alert pass on a ledger: from events to alerts and deliveries, once, whoever is killed. */
import { seededRng, below, type DeploymentId } from "@skep/core";
import { seedFromEnv } from "@skep/testkit";
import { expect, test } from "vitest";
import { COOL_MS, startAlertRig, type AlertRig } from "./rig.ts";

const alertsOf = (rig: AlertRig) => [...rig.database.committed.alerts.values()];
const firing = (rig: AlertRig) => alertsOf(rig).filter((alert) => alert.state === "firing");
const told = (rig: AlertRig) => [...rig.database.committed.webhookDeliveries.values()].map((one) => `${String(one.body["type"])} ${String(one.body["title"])}`);
/** Nobody listens there; these tests look at what is written. */
const NOWHERE = "http://127.0.0.1:9/";

test("the first look begins at the present, and what happens after it is an alert with what to do next", async () => {
  const rig = await startAlertRig();
  const hostId = await rig.host("web-01", "unreachable");
  await rig.addWebhook("pager", NOWHERE);
  await rig.happen("host.unreachable", { hostId, message: "host web-01 is unreachable: silent" });
  expect(await rig.control.alertOnce()).toMatchObject({ alerts: 1, notices: 1 });
  expect(firing(rig)).toMatchObject([{ key: `host_unreachable:${hostId}`, title: "Host unreachable: web-01", next: "skep explain host web-01", message: "host web-01 is unreachable: silent" }]);
  expect(told(rig)).toEqual(["alert.firing Host unreachable: web-01"]);
  expect(await rig.control.alertOnce()).toEqual({ events: 0, alerts: 0, notices: 0 });

  const later = await startAlertRig();
  await later.happen("host.unreachable", { hostId });
  await later.store.transaction((tx) => tx.casAlertCursor(1, "memory.0.0"));
  later.database.committed.alertCursor.delete("alerts");
  await later.control.alertOnce();
  await later.control.alertOnce();
  expect(alertsOf(later)).toEqual([]);
});

test("a webhook is told of what it wants, a disabled one of nothing", async () => {
  const rig = await startAlertRig();
  const hostId = await rig.host("web-01", "suspect");
  await rig.addWebhook("errors", NOWHERE, { min_severity: "error" });
  await rig.addWebhook("tokens", NOWHERE, { kinds: ["host.token"] });
  await rig.addWebhook("all", NOWHERE);
  await rig.addWebhook("off", NOWHERE);
  await rig.control.updateWebhook("off", { enabled: false }, rig.context());
  await rig.happen("host.suspect", { hostId });
  await rig.happen("host.token_replay", { hostId });
  await rig.control.alertOnce();
  const names = new Map([...rig.database.committed.webhooks.values()].map((webhook) => [webhook.id, webhook.name]));
  const pairs = [...rig.database.committed.webhookDeliveries.values()].map((one) => `${names.get(one.webhookId) ?? "?"}: ${String(one.body["title"])}`);
  expect(pairs.sort()).toEqual(["all: Enrolment token misused: web-01", "all: Host silent: web-01", "errors: Enrolment token misused: web-01", "tokens: Enrolment token misused: web-01"]);
});

test("a deployment's alert carries its name, and the command names it", async () => {
  const rig = await startAlertRig();
  const hostId = await rig.host("web-01");
  const deploymentId = crypto.randomUUID() as DeploymentId;
  await rig.store.transaction((tx) => tx.insertDeployment({ id: deploymentId, name: "shop", generation: 1, desired: "running", reconcile: "auto", placement: { replicas: 1 }, rollout: {} }));
  await rig.happen("deployment.failed", { hostId, deploymentId });
  await rig.control.alertOnce();
  expect(firing(rig)).toMatchObject([{ title: "Deployment failed: shop on web-01", deployment: "shop", host: "web-01", next: "skep explain deployment shop" }]);
});

test("a master that has only begun to listen keeps silence to itself, and tells of it once it has listened", async () => {
  const rig = await startAlertRig({ warm: false });
  const [away, back] = [await rig.host("web-01", "unreachable"), await rig.host("web-02", "unreachable")];
  await rig.addWebhook("pager", NOWHERE);
  await rig.happen("host.unreachable", { hostId: away });
  await rig.happen("host.unreachable", { hostId: back });
  await rig.happen("breaker.opened", { hostId: away });
  await rig.control.alertOnce();
  expect(told(rig)).toEqual(["alert.firing Calls to host stopped: web-01"]);
  expect(firing(rig)).toHaveLength(3);
  await rig.happen("host.active", { hostId: back });
  await rig.control.alertOnce();
  rig.clock.advance(90_000);
  await rig.control.alertOnce();
  expect(told(rig)).toEqual(["alert.firing Calls to host stopped: web-01", "alert.firing Host unreachable: web-01"]);
});

test("acknowledging silences reminders until it resolves; it is audited, and again it says who was first", async () => {
  const rig = await startAlertRig();
  const hostId = await rig.host("web-01");
  await rig.addWebhook("pager", NOWHERE);
  await rig.happen("breaker.opened", { hostId });
  await rig.control.alertOnce();
  const { id } = firing(rig)[0]!;
  expect((await rig.control.acknowledgeAlert(id, rig.context())).body).toMatchObject({ acknowledged_by: "token:test", state: "firing", version: 2 });
  expect((await rig.control.acknowledgeAlert(id, { ...rig.context(), actor: "token:late" })).body).toMatchObject({ acknowledged_by: "token:test", version: 2 });
  expect((await rig.store.listAudit({ limit: 9, actionPrefix: "alert." })).map((entry) => [entry.actor, entry.subject])).toEqual([["token:test", `alert:${id}`]]);
  rig.clock.advance(COOL_MS);
  await rig.happen("breaker.opened", { hostId });
  await rig.control.alertOnce();
  expect(told(rig)).toHaveLength(1);
  await rig.happen("breaker.closed", { hostId });
  await rig.control.alertOnce();
  expect(told(rig)).toEqual(["alert.firing Calls to host stopped: web-01", "alert.resolved Calls to host stopped: web-01"]);
  await expect(rig.control.acknowledgeAlert(id, rig.context())).rejects.toMatchObject({ code: "alert_resolved" });
  await expect(rig.control.acknowledgeAlert(hostId, rig.context())).rejects.toMatchObject({ code: "alert_not_found" });
});

test("a state that ended without an event is found to be over", async () => {
  const rig = await startAlertRig();
  const hostId = await rig.host("web-01", "unreachable");
  await rig.addWebhook("pager", NOWHERE);
  await rig.happen("host.unreachable", { hostId });
  await rig.control.alertOnce();
  rig.clock.advance(30_000);
  await rig.control.alertOnce();
  expect(firing(rig)).toHaveLength(1);
  await rig.store.transaction((tx) => tx.casHostStatus(hostId, "unreachable", "active", "test"));
  rig.clock.advance(30_000);
  await rig.control.alertOnce();
  expect(alertsOf(rig)).toMatchObject([{ state: "resolved", resolvedBecause: "the host is active" }]);
  expect(told(rig)).toEqual(["alert.firing Host unreachable: web-01", "alert.resolved Host unreachable: web-01"]);
});

test("events that were deleted before anybody looked are said to be skipped, and what fires is held against the present", async () => {
  const rig = await startAlertRig();
  const [over, still] = [await rig.host("web-01", "unreachable"), await rig.host("web-02", "unreachable")];
  for (const hostId of [over, still]) {
    await rig.happen("host.unreachable", { hostId });
  }
  await rig.control.alertOnce();
  await rig.store.transaction((tx) => tx.casHostStatus(over, "unreachable", "active", "test"));
  await rig.happen("host.active", { hostId: over });
  await rig.happen("host.flapping", { hostId: still });
  await rig.store.retain({ eventsMs: -1_000, idempotencyMs: 1_000, alertsMs: 3_600_000, historyMs: 3_600_000 });
  await rig.control.alertOnce();
  expect(firing(rig).map((alert) => alert.host)).toEqual(["web-02"]);
  expect((await rig.store.recentEvents(9, { kindPrefix: "alert." })).map((event) => [event.kind, event.severity])).toEqual([["alert.skipped", "warning"]]);
  await rig.happen("breaker.opened", { hostId: still });
  await rig.control.alertOnce();
  expect(firing(rig).map((alert) => alert.rule).sort()).toEqual(["breaker_open", "host_unreachable"]);
  await rig.control.alertOnce();
  expect(await rig.store.recentEvents(9, { kindPrefix: "alert." })).toHaveLength(1);
});

test("masters that are killed at any statement and go on side by side make each alert and each notice once", async () => {
  const rng = seededRng(seedFromEnv());
  const rig = await startAlertRig();
  await rig.addWebhook("pager", NOWHERE);
  const hosts = [await rig.host("web-01"), await rig.host("web-02"), await rig.host("web-03")];
  let begun = 0;
  for (let round = 0; round < 60; round++) {
    for (const hostId of hosts) {
      const kind = ["breaker.opened", "breaker.closed", "host.flapping", "host.settled"][below(rng, 4)]!;
      if (kind === "breaker.opened" || kind === "host.flapping") begun += 1;
      await rig.happen(kind, { hostId });
    }
    // One that dies somewhere in its look, and two that look at the same time.
    let left = below(rng, 25);
    const doomed = await rig.another({ latency: () => (left-- <= 0 ? Promise.reject(new Error("killed")) : Promise.resolve()) }).catch(() => undefined);
    const second = await rig.another();
    await Promise.all([doomed?.control.alertOnce().catch(() => undefined), second.control.alertOnce(), rig.control.alertOnce()]);
    doomed?.store.kill();
    rig.clock.advance(below(rng, 2) * COOL_MS);
    await rig.control.alertOnce();
    // Every event was taken once, by one of them.
    expect(alertsOf(rig).reduce((sum, alert) => sum + alert.count, 0)).toBe(begun);
    // What receivers believe, told from what was sent, is what the ledger says they believe.
    const sent = [...rig.database.committed.webhookDeliveries.values()];
    for (const alert of alertsOf(rig)) {
      const about = sent.filter((one) => one.alertId === alert.id).map((one) => String(one.body["type"]));
      expect(about.filter((type) => type === "alert.firing").length - about.filter((type) => type === "alert.resolved").length, alert.key).toBe(alert.told ? 1 : 0);
    }
  }
  const sent = [...rig.database.committed.webhookDeliveries.values()];
  expect(sent.length).toBeGreaterThan(20);
  const versions = sent.map((one) => `${one.alertId ?? ""} ${String((one.body["alert"] as { version: number }).version)}`);
  expect(new Set(versions).size).toBe(versions.length);
});
