/** What a master makes of boots it is told of: kept, judged, and an event for each piece of news and for nothing else. */
import { CLOSED_BREAKER, decideHealth, instant, timingsFor, viewBreaker, type BootReport } from "@skep/core";
import { heartbeatRequest, registerRequest } from "@skep/protocol";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clock, startRig, type Rig } from "./rig.ts";

const database = useDatabase();
let rig: Rig;
/** Another master of the same ledger, with a memory of its own. */
let other: Rig;
beforeAll(async () => {
  rig = await startRig(database.url);
  other = await startRig(database.url);
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

const DOWN = [{ name: "dns", healthy: false, error: "disk not there" }];

test("boot.blocked once and with every further alert, boot.degraded, boot.complete; a repeated report is no event, whichever master hears it", async () => {
  const { hostId } = await rig.addHost("web-01");
  const { session_epoch: session } = await rig.control.register(hostId, registerRequest.parse({ boot_id: "b1", host_boot_id: "h1", agent_version: "1", op_seq: 0, placements: [], jobs: [] }));
  let seq = 0;
  const beat = async (boot: BootReport | undefined, more: object = {}): Promise<void> => {
    seq += 1;
    await (seq % 2 === 0 ? rig : other).control.beat(hostId, heartbeatRequest.parse({
      host_uuid: hostId, agent_version: "1", protocol: 1, boot_id: "b1", host_boot_id: "h1", session_epoch: session, seq, op_seq: 0, status: { deployed: false, placements: [] }, jobs: [],
      phase: boot === undefined || ["complete", "degraded"].includes(boot.state) ? "ready" : "booting", resources: { load: seq }, ...(boot === undefined ? {} : { boot }), ...more,
    }));
  };
  const events = async (): Promise<string[]> => (await rig.store.recentEvents(100)).filter((event) => event.kind.startsWith("boot.")).map((event) => `${event.severity} ${event.kind}: ${event.message}`);
  const codes = async (): Promise<string[]> => {
    const { host, liveness, report } = (await rig.store.findHostView(hostId))!;
    return decideHealth({ host, liveness, report, reachability: undefined, circuit: viewBreaker(CLOSED_BREAKER, 0), cert: undefined, placements: { total: 0, running: 0, degraded: 0, failed: 0, unknown: 0 }, listeningSince: instant(0), now: clock.now(), timings: timingsFor(30_000) }).reasons.map((reason) => reason.code);
  };

  await beat({ stage: "base", state: "starting", members: [], alerts: 0 });
  expect([await events(), await codes()]).toEqual([[], ["agent_booting"]]);
  const blocked: BootReport = { stage: "base", state: "blocked", members: DOWN, alerts: 1 };
  for (let again = 0; again < 3; again++) await beat(blocked);
  expect([await events(), await codes()]).toEqual([["error boot.blocked: its boot waits at stage base, a foundation: dns (disk not there)"], ["boot_blocked"]]);
  await beat({ ...blocked, alerts: 2 });
  expect(await events()).toHaveLength(2);
  const degraded: BootReport = { stage: null, state: "degraded", members: DOWN, alerts: 2 };
  for (let again = 0; again < 2; again++) await beat(degraded);
  expect((await events()).at(-1)).toBe("warning boot.degraded: its boot went on without dns (disk not there)");
  expect(await codes()).toEqual(["boot_degraded"]);
  await beat({ stage: null, state: "complete", members: [{ name: "dns", healthy: true }], alerts: 2 });
  await beat({ stage: null, state: "complete", members: [{ name: "dns", healthy: true }], alerts: 2 });
  expect([(await events()).length, (await events()).at(-1), await codes()]).toEqual([4, "info boot.complete: what its boot went on without is healthy now", []]);
  // A report nobody can read costs the beat nothing and says nothing.
  await beat(undefined, { boot: { stage: 7 } });
  expect((await rig.store.findHostView(hostId))?.report?.boot).toBeUndefined();
  expect(await events()).toHaveLength(4);
});
