/** Events, audit, idempotency keys, operators' tokens and signals. */
import { addMs } from "@skep/core";
import type { EventCursor, EventFilter, EventRecord, SignalTopic, TokenId } from "@skep/core";
import { expect, test } from "vitest";
import { eventually } from "../eventually.ts";
import type { World } from "./world.ts";
import { newHash, newId } from "./world.ts";

export function ledgerRules(world: () => World): void {
  const append = (kind: string, patch: object = {}) => world().store.transaction((tx) => tx.appendEvent({ kind, severity: "info", message: `message of ${kind}`, ...patch }));
  /** Any transaction of the server's, of other tests too, may hold events back for a moment; none is lost by it. */
  const follow = async (from: EventCursor | undefined, count: number, limit = 100, filter?: EventFilter): Promise<{ events: EventRecord[]; next: EventCursor | undefined }> => {
    let next = from;
    const events: EventRecord[] = [];
    return eventually(
      async (status) => {
        const page = await world().store.readEvents(next, limit, filter);
        if (page.kind !== "page") throw new Error("the cursor expired");
        expect(page.events.length).toBeLessThanOrEqual(limit);
        events.push(...page.events);
        next = page.next;
        status(`${events.length} of ${count} events`);
        return events.length >= count && { events, next };
      },
      { what: `${count} events` },
    );
  };

  /** The head once it has come past everything that was appended before: until then what follows it would include that too. */
  const settledHead = (): Promise<EventCursor> =>
    eventually(async () => {
      const { store } = world();
      const [last] = await store.recentEvents(1);
      const [page, head] = [await store.readEvents(undefined, 10_000), await store.eventHead()];
      return (last === undefined || (page.kind === "page" && page.events.some((event) => event.cursor === last.cursor))) && head;
    }, { what: "the head past the last event" });

  test("events are read once, in order, from any cursor", async () => {
    const start = await settledHead();
    const [hostId, deploymentId] = [newId(), newId()];
    await append("host.one", { hostId, data: { count: 1 } });
    await append("deployment.two", { deploymentId, severity: "warning" });
    await append("host.three", { hostId });
    const { events, next } = await follow(start, 3, 2);
    expect(events.map((event) => event.kind)).toEqual(["host.one", "deployment.two", "host.three"]);
    expect(events[0]).toMatchObject({ severity: "info", message: "message of host.one", hostId, data: { count: 1 } });
    expect([events[0]!.deploymentId, events[1]!.hostId, events[1]!.data]).toEqual([undefined, undefined, undefined]);
    expect((await follow(events[0]!.cursor, 2)).events.map((event) => event.kind)).toEqual(["deployment.two", "host.three"]);
    expect(await world().store.readEvents(next, 10)).toMatchObject({ kind: "page", events: [] });
    expect((await follow(start, 2, 1, { hostId })).events.map((event) => event.kind)).toEqual(["host.one", "host.three"]);
    expect((await follow(start, 1, 10, { deploymentId })).events.map((event) => event.kind)).toEqual(["deployment.two"]);
    expect((await follow(start, 2, 10, { kindPrefix: "host." })).events.map((event) => event.kind)).toEqual(["host.one", "host.three"]);
    expect((await world().store.recentEvents(2)).map((event) => event.kind)).toEqual(["deployment.two", "host.three"]);
    expect((await world().store.recentEvents(5, { kindPrefix: "deployment." })).map((event) => event.kind)).toEqual(["deployment.two"]);
    expect((await follow(undefined, 3)).events.length).toBeGreaterThanOrEqual(3);
  });

  test("events of a transaction that was rolled back are never seen", async () => {
    const start = await settledHead();
    await world().store.transaction(async (tx) => {
      await tx.appendEvent({ kind: "test.undone", severity: "info", message: "x" });
      throw new Error("no");
    }).catch(() => undefined);
    await append("test.done");
    expect((await follow(start, 1)).events.map((event) => event.kind)).toEqual(["test.done"]);
  });

  test("the audit log is read back, newest first, and filtered", async () => {
    const actor = `token:${newId()}`;
    for (const action of ["exec.start", "exec.end", "token.create"]) {
      await world().store.transaction((tx) => tx.appendAudit({ actor, action, subject: "x", outcome: action === "exec.end" ? "denied" : "allowed", requestId: "r", ...(action === "exec.start" ? { detail: { program: "ls", arguments: 2, ok: true } } : {}) }));
    }
    const { store } = world();
    const all = await store.listAudit({ limit: 10, actor });
    expect(all.map((entry) => entry.action)).toEqual(["token.create", "exec.end", "exec.start"]);
    expect(all[2]).toMatchObject({ actor, subject: "x", outcome: "allowed", requestId: "r", detail: { program: "ls", arguments: 2, ok: true } });
    expect([all[1]!.outcome, all[1]!.detail]).toEqual(["denied", undefined]);
    expect((await store.listAudit({ limit: 1, actor, before: all[0]!.id })).map((entry) => entry.action)).toEqual(["exec.end"]);
    expect((await store.listAudit({ limit: 10, actor, actionPrefix: "exec" })).map((entry) => entry.action)).toEqual(["exec.end", "exec.start"]);
  });

  test("a cursor of another database, and nonsense, are expired", async () => {
    const { store } = world();
    expect(await store.readEvents(`${newId()}.1.1`, 10)).toEqual({ kind: "expired" });
    expect(await store.readEvents("nonsense", 10)).toEqual({ kind: "expired" });
  });

  test("a key is claimed once; its answer is repeated to the same request and to no other", async () => {
    const { store } = world();
    const key = { scope: "token:1 POST /x", key: newHash(), bodyHash: "one" };
    const claim = (patch: object = {}) => store.transaction((tx) => tx.claimIdempotency({ ...key, ...patch }));
    expect(await claim()).toEqual({ kind: "claimed" });
    expect(await claim()).toEqual({ kind: "in_progress" });
    await store.transaction((tx) => tx.completeIdempotency(key, 202, { id: "x", list: [1] }));
    expect(await claim()).toEqual({ kind: "replay", status: 202, body: { id: "x", list: [1] } });
    expect(await claim({ bodyHash: "two" })).toEqual({ kind: "reused" });
    expect(await claim({ scope: "token:2 POST /x" })).toEqual({ kind: "claimed" });
  });

  test("a claim that was rolled back was none", async () => {
    const { store } = world();
    const key = { scope: "s", key: newHash(), bodyHash: "b" };
    await store.transaction(async (tx) => {
      expect(await tx.claimIdempotency(key)).toEqual({ kind: "claimed" });
      throw new Error("no");
    }).catch(() => undefined);
    expect(await store.transaction((tx) => tx.claimIdempotency(key))).toEqual({ kind: "claimed" });
  });

  test("an operator's token is found until it is revoked, and afterwards with the time of it", async () => {
    const { store } = world();
    const id = newId<TokenId>();
    const expiresAt = addMs(await store.now(), 60_000);
    await store.transaction((tx) => tx.insertApiToken({ id, name: "ci", role: "operator", secretHash: "h", expiresAt }));
    expect(await store.findApiToken(id)).toMatchObject({ id, name: "ci", role: "operator", secretHash: "h", expiresAt, revokedAt: undefined });
    expect((await store.listApiTokens()).map((token) => token.id)).toContain(id);
    expect(await store.transaction((tx) => tx.revokeApiToken(id))).toBe(true);
    expect(await store.transaction((tx) => tx.revokeApiToken(id))).toBe(false);
    expect((await store.findApiToken(id))!.revokedAt).toBeDefined();
    expect(await store.findApiToken(newId<TokenId>())).toBeUndefined();
  });

  test("a commit wakes the listeners of its topic until they leave", async () => {
    const { store } = world();
    const heard: SignalTopic[] = [];
    const leave = store.onSignal((topic) => void heard.push(topic));
    const placed = await world().placed();
    const hears = (topic: SignalTopic, act: () => Promise<unknown>) =>
      eventually(async () => {
        await act();
        return heard.includes(topic);
      }, { what: `the signal ${topic}` });
    await hears("events", () => append("test.signal"));
    await hears("pins", () => world().cert(placed.hostId));
    await world().row(placed);
    await eventually(() => heard.includes("lifecycle"), { what: "the signal lifecycle" });
    leave();
    leave();
  });
}
