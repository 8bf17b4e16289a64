/** Alerts, the cursor that makes them, webhooks and deliveries. */
import { addMs, instant } from "@skep/core";
import type { AlertId, AlertRecord, AlertTouch, DeploymentId, HostId, JobId, NewAlert, PlacementId, WebhookDeliveryId, WebhookId } from "@skep/core";
import { expect, test } from "vitest";
import { eventually } from "../eventually.ts";
import type { World } from "./world.ts";
import { newHash, newId } from "./world.ts";

const NOTHING: AlertTouch = { keys: [], hosts: [], deployments: [], placements: [], lifecycles: [] };

export function alertRules(world: () => World): void {
  const at = instant(Date.UTC(2026, 5, 1, 12));
  const newAlert = (patch: Partial<NewAlert> = {}): NewAlert => {
    const hostId = patch.hostId ?? newId<HostId>();
    return {
      id: newId<AlertId>(), key: `host_unreachable:${hostId}`, rule: "host_unreachable", severity: "error", title: "Host unreachable: web-01", next: "skep explain host web-01",
      hostId, host: "web-01", deploymentId: undefined, deployment: undefined, placementId: undefined, lifecycleId: undefined, firstAt: at,
      state: "firing", kind: "host.unreachable", message: "it is silent", count: 1, lastAt: at, resolvedAt: undefined, resolvedBecause: undefined,
      told: true, notifiedAt: at, notifyAt: undefined, acknowledgedAt: undefined, acknowledgedBy: undefined, ...patch,
    };
  };
  const insert = async (patch: Partial<NewAlert> = {}): Promise<AlertRecord> => {
    const alert = newAlert(patch);
    await world().store.transaction((tx) => tx.insertAlerts([alert]));
    return { ...alert, version: 1 };
  };
  const lock = (touch: Partial<AlertTouch>, since = at, due = 0) => world().store.transaction((tx) => tx.lockAlerts({ ...NOTHING, ...touch }, since, due));
  const webhook = async (name = `hook-${newHash().slice(0, 8)}`): Promise<WebhookId> => {
    const id = newId<WebhookId>();
    expect(await world().store.transaction((tx) => tx.insertWebhook({ id, name, url: "https://receiver.example/x", filter: { kinds: ["host."], minSeverity: "warning" }, secret: `whsec_${name}` }))).toBe("inserted");
    return id;
  };
  const deliver = async (webhookId: WebhookId, alertId?: AlertId): Promise<WebhookDeliveryId> => {
    const id = newId<WebhookDeliveryId>();
    await world().store.transaction((tx) => tx.insertWebhookDeliveries([{ id, webhookId, alertId, body: { type: "alert.firing", n: 1 } }]));
    return id;
  };
  const claim = async (limit = 100, perWebhook = 100, claimMs = 60_000) => (await world().store.claimWebhookDeliveries(limit, perWebhook, claimMs)).map((one) => one.delivery.id);

  test("the cursor begins once, and moves by who believed in its version", async () => {
    const { store } = world();
    expect(await store.alertCursor()).toBeUndefined();
    const cas = (version: number, cursor: string) => store.transaction((tx) => tx.casAlertCursor(version, cursor));
    expect(await cas(0, "a")).toBe(true);
    expect(await cas(0, "b")).toBe(false);
    expect(await store.alertCursor()).toEqual({ cursor: "a", version: 1, noticeDue: false });
    expect(await cas(1, "c")).toBe(true);
    expect(await cas(1, "d")).toBe(false);
    expect(await store.alertCursor()).toMatchObject({ cursor: "c", version: 2 });
  });

  test("an alert is what was written, and its progress changes at the version believed in", async () => {
    const { store } = world();
    const full = await insert({ deploymentId: newId<DeploymentId>(), deployment: "shop", placementId: newId<PlacementId>(), lifecycleId: newId<JobId>(), notifyAt: addMs(at, 1_000), acknowledgedAt: at, acknowledgedBy: "token:1" });
    expect(await store.findAlert(full.id)).toEqual(full);
    const bare = await insert();
    expect(await store.findAlert(bare.id)).toEqual(bare);
    const cas = (alert: AlertRecord) => store.transaction((tx) => tx.casAlert(alert));
    const over: AlertRecord = { ...full, state: "resolved", count: 7, lastAt: addMs(at, 5), resolvedAt: addMs(at, 9), resolvedBecause: "it is back", told: false, notifyAt: undefined, acknowledgedAt: undefined, acknowledgedBy: undefined };
    expect(await cas(over)).toBe(true);
    expect(await store.findAlert(full.id)).toEqual({ ...over, version: 2 });
    expect(await cas(over)).toBe(false);
    expect(await store.transaction((tx) => tx.lockAlert(full.id))).toEqual({ ...over, version: 2 });
    expect(await store.findAlert(newId())).toBeUndefined();
    expect(await store.findAlert("nonsense")).toBeUndefined();
  });

  test("of one key at most one fires", async () => {
    const { store } = world();
    const first = await insert();
    await expect(insert({ hostId: first.hostId })).rejects.toThrow();
    await store.transaction((tx) => tx.casAlert({ ...first, state: "resolved", resolvedAt: at, resolvedBecause: "x" }));
    const second = await insert({ hostId: first.hostId });
    await expect(store.transaction((tx) => tx.casAlert({ ...first, version: 2 }))).rejects.toThrow();
    expect((await lock({ keys: [first.key] }, addMs(at, -1))).map((alert) => alert.id)).toEqual([first.id, second.id]);
  });

  test("locked are the firing ones of a subject, of a key those that fire or moved lately, and what is due", async () => {
    const { store } = world();
    const ids = { deploymentId: newId<DeploymentId>(), placementId: newId<PlacementId>(), lifecycleId: newId<JobId>() };
    const alert = await insert(ids);
    await insert();
    for (const touch of [{ hosts: [alert.hostId!] }, { deployments: [ids.deploymentId] }, { placements: [ids.placementId] }, { lifecycles: [ids.lifecycleId] }, { keys: [alert.key] }]) {
      expect((await lock(touch)).map((one) => one.id), JSON.stringify(touch)).toEqual([alert.id]);
    }
    expect(await lock({})).toEqual([]);
    await store.transaction((tx) => tx.casAlert({ ...alert, state: "resolved", resolvedAt: addMs(at, 10), resolvedBecause: "x" }));
    expect(await lock({ hosts: [alert.hostId!] })).toEqual([]);
    expect(await lock({ keys: [alert.key] }, addMs(at, 10))).toEqual([]);
    expect((await lock({ keys: [alert.key] }, addMs(at, 9))).map((one) => one.id)).toEqual([alert.id]);
    const due = await insert({ told: false, notifyAt: addMs(await store.now(), -1) });
    expect((await store.alertCursor())?.noticeDue).toBe(true);
    expect((await lock({}, at, 100)).map((one) => one.id)).toContain(due.id);
    expect(await lock({}, at, 0)).toEqual([]);
  });

  test("lists are newest first, and filtered", async () => {
    const { store } = world();
    const deploymentId = newId<DeploymentId>();
    const [one, two, three] = [await insert({ deploymentId, severity: "warning" }), await insert({ deploymentId }), await insert({ deploymentId })];
    await store.transaction((tx) => tx.casAlert({ ...three, state: "resolved", resolvedAt: at, resolvedBecause: "x" }));
    const ids = async (query: object) => (await store.listAlerts({ limit: 100, deploymentId, ...query })).map((alert) => alert.id);
    expect(await ids({})).toEqual([three.id, two.id, one.id]);
    expect(await ids({ limit: 1 })).toEqual([three.id]);
    expect(await ids({ after: two.id })).toEqual([one.id]);
    expect(await ids({ state: "firing" })).toEqual([two.id, one.id]);
    expect(await ids({ state: "resolved" })).toEqual([three.id]);
    expect(await ids({ severities: ["warning", "info"] })).toEqual([one.id]);
    expect(await ids({ hostId: two.hostId })).toEqual([two.id]);
    expect(await ids({ deploymentId: newId() })).toEqual([]);
  });

  test("a webhook is found by name and id, never with its secret; its name is its own; it changes at the version believed in", async () => {
    const { store } = world();
    const id = await webhook("pager");
    const found = (await store.findWebhook("pager"))!;
    expect(found).toMatchObject({ id, name: "pager", url: "https://receiver.example/x", filter: { kinds: ["host."], minSeverity: "warning" }, enabled: true, version: 1 });
    expect(await store.findWebhook(id)).toEqual(found);
    expect(JSON.stringify([found, await store.listWebhooks()])).not.toContain("whsec");
    expect(await store.transaction((tx) => tx.insertWebhook({ id: newId<WebhookId>(), name: "pager", url: "https://x/", filter: found.filter, secret: "s" }))).toBe("webhook_exists");
    const cas = (version: number, patch: object) => store.transaction((tx) => tx.casWebhook(id, version, patch));
    expect(await cas(1, { enabled: false })).toBe(true);
    expect(await cas(1, { enabled: true })).toBe(false);
    expect(await cas(2, { url: "https://y/", filter: { kinds: [], minSeverity: "error" } })).toBe(true);
    expect(await store.findWebhook(id)).toMatchObject({ enabled: false, url: "https://y/", filter: { kinds: [], minSeverity: "error" }, version: 3 });
    expect(await store.findWebhook("nobody")).toBeUndefined();
  });

  test("a delivery is claimed once, with the secret, until its claim expires; and is retried, delivered or dead by who claimed it", async () => {
    const { store } = world();
    const webhookId = await webhook();
    const id = await deliver(webhookId);
    const [claimed] = await store.claimWebhookDeliveries(10, 10, 60_000);
    expect(claimed).toMatchObject({ delivery: { id, webhookId, alertId: undefined, status: "pending", attempt: 1, version: 2, body: { type: "alert.firing", n: 1 } }, webhook: { id: webhookId }, secret: expect.stringMatching(/^whsec_/) as string });
    expect(await claim()).toEqual([]);
    const cas = (version: number, patch: Parameters<Parameters<Parameters<typeof store.transaction>[0]>[0]["casWebhookDelivery"]>[2]) => store.transaction((tx) => tx.casWebhookDelivery(id, version, patch));
    expect(await cas(1, { status: "delivered" })).toBe(false);
    expect(await cas(2, { status: "pending", retryMs: 3_600_000, lastStatus: 500, lastError: "it answered 500" })).toBe(true);
    expect(await store.findWebhookDelivery(id)).toMatchObject({ status: "pending", attempt: 1, lastStatus: 500, lastError: "it answered 500", claimExpiresAt: undefined, completedAt: undefined });
    expect(await claim()).toEqual([]);
    expect(await cas(3, { status: "pending", retryMs: 0 })).toBe(true);
    expect(await store.claimWebhookDeliveries(10, 10, -1)).toMatchObject([{ delivery: { id, attempt: 2, version: 5 } }]);
    expect(await store.claimWebhookDeliveries(10, 10, 60_000)).toMatchObject([{ delivery: { id, attempt: 3, version: 6 } }]);
    expect(await cas(5, { status: "delivered" })).toBe(false);
    expect(await cas(6, { status: "dead", lastStatus: null, lastError: "gone" })).toBe(true);
    expect(await store.findWebhookDelivery(id)).toMatchObject({ status: "dead", lastStatus: undefined, lastError: "gone" });
    expect((await store.findWebhookDelivery(id))!.completedAt).toBeDefined();
    expect((await store.listWebhooks()).find((one) => one.id === webhookId)!.deliveries).toEqual({ pending: 0, dead: 1 });
    expect(await cas(7, { status: "pending", attempt: 0, retryMs: 0 })).toBe(true);
    expect(await store.findWebhookDelivery(id)).toMatchObject({ status: "pending", attempt: 0, completedAt: undefined });
    expect(await claim()).toEqual([id]);
  });

  test("one webhook holds so many at once, whatever others do; a disabled one holds none", async () => {
    const { store } = world();
    const [busy, other, off] = [await webhook(), await webhook(), await webhook()];
    const many = [await deliver(busy), await deliver(busy), await deliver(busy)];
    const one = await deliver(other);
    const waiting = await deliver(off);
    await store.transaction((tx) => tx.casWebhook(off, 1, { enabled: false }));
    expect((await claim(100, 2)).sort()).toEqual([...many.slice(0, 2), one].sort());
    expect(await claim(100, 2)).toEqual([]);
    const first = (await store.findWebhookDelivery(many[0]!))!;
    await store.transaction((tx) => tx.casWebhookDelivery(first.id, first.version, { status: "delivered" }));
    expect(await claim(100, 2)).toEqual([many[2]]);
    await store.transaction((tx) => tx.casWebhook(off, 2, { enabled: true }));
    expect(await claim(100, 2)).toEqual([waiting]);
  });

  test("of one alert a receiver hears in order: the end waits for the beginning, and for no other alert's", async () => {
    const { store } = world();
    const webhookId = await webhook();
    const [alertId, otherAlert] = [newId<AlertId>(), newId<AlertId>()];
    const [firing, resolved, other] = [await deliver(webhookId, alertId), await deliver(webhookId, alertId), await deliver(webhookId, otherAlert)];
    expect((await claim()).sort()).toEqual([firing, other].sort());
    await store.transaction((tx) => tx.casWebhookDelivery(firing, 2, { status: "pending", retryMs: 3_600_000 }));
    expect(await claim()).toEqual([]);
    await store.transaction((tx) => tx.casWebhookDelivery(firing, 3, { status: "dead" }));
    expect(await claim()).toEqual([resolved]);
  });

  test("many are written at once, and none is no statement", async () => {
    const { store } = world();
    const webhookId = await webhook();
    const alerts = Array.from({ length: 300 }, () => newAlert());
    const rows = alerts.flatMap((alert) => Array.from({ length: 5 }, () => ({ id: newId<WebhookDeliveryId>(), webhookId, alertId: alert.id, body: {} })));
    await store.transaction(async (tx) => {
      await tx.insertAlerts([]);
      await tx.insertWebhookDeliveries([]);
      await tx.insertAlerts(alerts);
      await tx.insertWebhookDeliveries(rows);
    });
    expect((await lock({ keys: alerts.map((alert) => alert.key) })).length).toBe(300);
    expect((await store.listWebhooks()).find((one) => one.id === webhookId)!.deliveries.pending).toBe(1_500);
    await store.transaction((tx) => tx.deleteWebhook(webhookId));
  });

  test("deliveries are listed newest first, and go with their webhook", async () => {
    const { store } = world();
    const webhookId = await webhook();
    const [one, two] = [await deliver(webhookId), await deliver(webhookId)];
    await deliver(await webhook());
    const ids = async (query: object = {}) => (await store.listWebhookDeliveries({ webhookId, limit: 10, ...query })).map((item) => item.id);
    expect(await ids()).toEqual([two, one]);
    expect(await ids({ after: two })).toEqual([one]);
    expect(await ids({ limit: 1 })).toEqual([two]);
    expect(await ids({ status: "dead" })).toEqual([]);
    expect(await store.transaction((tx) => tx.deleteWebhook(webhookId))).toBe(true);
    expect(await store.transaction((tx) => tx.deleteWebhook(webhookId))).toBe(false);
    expect(await ids()).toEqual([]);
    expect(await store.findWebhookDelivery(one)).toBeUndefined();
  });

  test("what ended long ago is dropped; what fires, what waits and what is dead stays", async () => {
    const { store } = world();
    const webhookId = await webhook();
    const long = addMs(await store.now(), -7_200_000);
    const [old, young, fires] = [await insert({ state: "resolved", resolvedAt: long, resolvedBecause: "x" }), await insert({ state: "resolved", resolvedAt: await store.now(), resolvedBecause: "x" }), await insert({ lastAt: long })];
    const [sent, dead, pending] = [await deliver(webhookId), await deliver(webhookId), await deliver(webhookId)];
    await store.transaction((tx) => tx.casWebhookDelivery(sent, 1, { status: "delivered" }));
    await store.transaction((tx) => tx.casWebhookDelivery(dead, 1, { status: "dead" }));
    const first = await store.retain({ eventsMs: 3_600_000, idempotencyMs: 3_600_000, alertsMs: 3_600_000, historyMs: 3_600_000 });
    expect(first.webhookDeliveries).toBe(0);
    expect(first.alerts).toBeGreaterThanOrEqual(1);
    expect([await store.findAlert(old.id), (await store.findAlert(young.id))?.id, (await store.findAlert(fires.id))?.id]).toEqual([undefined, young.id, fires.id]);
    await eventually(async () => {
      await store.retain({ eventsMs: 3_600_000, idempotencyMs: 3_600_000, alertsMs: -60_000, historyMs: 3_600_000 });
      return (await store.findWebhookDelivery(sent)) === undefined;
    }, { what: "the delivered one is dropped" });
    expect((await store.findWebhookDelivery(dead))?.status).toBe("dead");
    expect((await store.findWebhookDelivery(pending))?.status).toBe("pending");
    expect(await store.findAlert(fires.id)).toBeDefined();
  });
}
