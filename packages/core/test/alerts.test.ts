/** Alerts: what opens and what ends each rule, who is told and how often, and what holds in any order of events. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALERT_RULES, below, decideDelivery, instant, seededRng, wantsAlert, WEBHOOK_ATTEMPTS, HOUR_MS, type EventRecord } from "../src/index.ts";
import { AlertLedger, COOL_MS, event } from "./alert-ledger.ts";

/** [rule, what opens it, what ends it]: written out, so that a rule that loses a word loses a test. */
const CASES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["host_unreachable", ["host.unreachable"], ["host.active", "host.decommissioned"]],
  ["host_suspect", ["host.suspect"], ["host.active", "host.unreachable", "host.decommissioned"]],
  ["host_network_unreachable", ["host.network_unreachable"], ["host.network_reachable", "host.decommissioned"]],
  ["host_flapping", ["host.flapping"], ["host.settled", "host.decommissioned"]],
  ["breaker_open", ["breaker.opened"], ["breaker.closed", "breaker.reset", "host.decommissioned"]],
  ["identity_mismatch", ["host.identity_mismatch"], ["breaker.closed", "breaker.reset", "host.enrolled", "host.decommissioned"]],
  ["boot_blocked", ["boot.blocked"], ["boot.degraded", "boot.complete", "host.decommissioned"]],
  ["boot_degraded", ["boot.degraded"], ["boot.complete", "boot.blocked", "host.decommissioned"]],
  ["enrolment_token_misused", ["host.token_burned", "host.token_replay"], ["host.bundle_issued", "host.decommissioned"]],
  ["operation_failed", ["lifecycle.failed"], ["lifecycle.succeeded", "deployment.active", "placement.dropped", "deployment.torn_down", "host.decommissioned"]],
  ["operation_lost", ["lifecycle.lost"], ["lifecycle.needs_decision", "lifecycle.running", "lifecycle.succeeded", "lifecycle.failed", "lifecycle.cancelled", "lifecycle.superseded", "host.decommissioned"]],
  ["operation_needs_decision", ["lifecycle.needs_decision"], ["lifecycle.running", "lifecycle.succeeded", "lifecycle.failed", "lifecycle.cancelled", "lifecycle.superseded", "host.decommissioned"]],
  ["deployment_failed", ["deployment.failed", "deployment.teardown_failed"], ["deployment.active", "deployment.degraded", "deployment.torn_down"]],
  ["deployment_degraded", ["deployment.degraded"], ["deployment.active", "deployment.failed", "deployment.teardown_failed", "deployment.torn_down"]],
  ["crash_loop", ["placement.crash_loop"], ["lifecycle.succeeded", "deployment.active", "placement.as_desired", "placement.dropped", "deployment.torn_down", "host.decommissioned"]],
  ["drift", ["placement.drift"], ["placement.as_desired", "placement.crash_loop", "lifecycle.succeeded", "deployment.active", "placement.dropped", "deployment.torn_down", "host.decommissioned"]],
  ["rollout_rolling_back", ["rollout.rolling_back"], ["rollout.rolled_back", "rollout.failed", "rollout.started", "rollout.superseded", "deployment.torn_down"]],
  ["rollout_failed", ["rollout.failed"], ["rollout.started", "rollout.succeeded", "deployment.torn_down"]],
  ["rollout_paused", ["rollout.paused"], ["rollout.resumed", "rollout.wave", "rollout.succeeded", "rollout.rolling_back", "rollout.failed", "rollout.superseded", "rollout.started", "deployment.torn_down"]],
  ["drain_blocked", ["host.drain_blocked"], ["host.draining", "host.drained", "host.drain_cancelled", "host.decommissioned"]],
  ["move_failed", ["move.failed"], ["move.started", "move.succeeded", "deployment.active", "host.drained", "host.drain_cancelled", "placement.dropped", "deployment.torn_down", "host.decommissioned"]],
];
const OTHERS = { hostId: "h2", deploymentId: "d2", placementId: "p2", lifecycleId: "l2" };

test("every rule has its case, and every case its rule", () => {
  expect(CASES.map(([rule]) => rule)).toEqual(ALERT_RULES.map((rule) => rule.name));
});

describe.each(CASES)("%s", (rule, opens, ends) => {
  test.each(opens.flatMap((open) => ends.map((end) => [open, end] as const)))("fires on %s and resolves on %s, of the same subject only", (open, end) => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event(open));
    const [alert] = ledger.firing(rule);
    expect(alert).toMatchObject({ state: "firing", count: 1, kind: open, message: `message of ${open}`, told: true, hostId: "h1" });
    expect(alert!.next).toMatch(/skep /);
    expect(alert!.title).toContain("web-01");
    ledger.look(2_000, event(end, OTHERS));
    expect(ledger.firing(rule)).toHaveLength(1);
    ledger.look(3_000, event(end));
    expect(ledger.firing(rule)).toHaveLength(0);
    expect(ledger.alerts.get(alert!.id)).toMatchObject({ state: "resolved", resolvedAt: 3_000, resolvedBecause: `message of ${end}`, told: false });
  });
});

describe("what is told", () => {
  test("what no rule names, and what names no subject, is no alert", () => {
    const ledger = new AlertLedger();
    expect(ledger.look(1, event("host.created"), event("delta.late"), event("rollout.succeeded"), event("host.unreachable", { hostId: undefined }))).toEqual([]);
    expect(ledger.alerts.size).toBe(0);
  });

  test("a person's own pause is no alert, a rollout's is", () => {
    const ledger = new AlertLedger();
    expect(ledger.look(1, event("rollout.paused", { severity: "info" }))).toEqual([]);
    expect(ledger.look(2, event("rollout.paused", { severity: "warning" }))).toEqual(["firing rollout_paused"]);
  });

  test("the same thing fires once; within the cool-down it is counted, afterwards it is a reminder, and its end is told once", () => {
    const ledger = new AlertLedger();
    expect(ledger.look(1_000, event("boot.blocked"))).toEqual(["firing boot_blocked"]);
    expect(ledger.look(2_000, event("boot.blocked"), event("boot.blocked"))).toEqual([]);
    expect(ledger.firing()[0]).toMatchObject({ count: 3, firstAt: 1_000, lastAt: 2_000 });
    expect(ledger.look(1_000 + COOL_MS - 1, event("boot.blocked"))).toEqual([]);
    expect(ledger.look(1_000 + COOL_MS, event("boot.blocked"))).toEqual(["reminder boot_blocked"]);
    expect(ledger.look(1_001 + COOL_MS, event("boot.blocked"))).toEqual([]);
    expect(ledger.look(1_002 + COOL_MS, event("boot.complete"))).toEqual(["resolved boot_blocked"]);
    expect(ledger.look(1_003 + COOL_MS, event("boot.complete"))).toEqual([]);
  });

  test("acknowledged: no reminders until it resolves, and its end is told; the next time it is told again", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("boot.blocked"));
    ledger.acknowledge(1_500);
    expect(ledger.look(1_000 + 2 * COOL_MS, event("boot.blocked"))).toEqual([]);
    expect(ledger.look(1_001 + 2 * COOL_MS, event("boot.complete"))).toEqual(["resolved boot_blocked"]);
    expect(ledger.look(1_002 + 2 * COOL_MS, event("boot.blocked"))).toEqual(["firing boot_blocked"]);
    expect(ledger.firing()[0]!.acknowledgedAt).toBeUndefined();
  });

  test("what flaps is told once a cool-down; and what stays down after it flapped is told when the cool-down is over", () => {
    const ledger = new AlertLedger();
    expect(ledger.look(0 + 1, event("host.unreachable"))).toEqual(["firing host_unreachable"]);
    expect(ledger.look(1_000, event("host.active"))).toEqual(["resolved host_unreachable"]);
    for (let at = 2_000; at < 100_000; at += 2_000) {
      expect(ledger.look(at, event("host.unreachable"))).toEqual([]);
      expect(ledger.look(at + 1_000, event("host.active"))).toEqual([]);
    }
    expect(ledger.look(100_000, event("host.unreachable"))).toEqual([]);
    expect(ledger.firing()[0]).toMatchObject({ told: false, notifyAt: 1 + COOL_MS });
    expect(ledger.look(COOL_MS)).toEqual([]);
    expect(ledger.look(1 + COOL_MS)).toEqual(["firing host_unreachable"]);
    expect(ledger.alerts.size).toBe(1);
  });

  test("later it is another alert, with its own beginning", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("host.unreachable"));
    ledger.look(2_000, event("host.active"));
    expect(ledger.look(3_000 + COOL_MS, event("host.unreachable"))).toEqual(["firing host_unreachable"]);
    expect(ledger.alerts.size).toBe(2);
    expect(ledger.firing()[0]).toMatchObject({ count: 1, firstAt: 3_000 + COOL_MS });
  });

  test("what came and went between two looks is kept and told to nobody", () => {
    const ledger = new AlertLedger();
    expect(ledger.look(5_000, event("host.unreachable", { at: instant(3_000) }), event("host.active", { at: instant(4_000) }))).toEqual([]);
    expect([...ledger.alerts.values()]).toMatchObject([{ state: "resolved", told: false, firstAt: 3_000, resolvedAt: 4_000 }]);
  });

  test("suspect gives way to unreachable, drift to a crash loop", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("host.suspect"), event("placement.drift"));
    expect(ledger.look(2_000, event("host.unreachable"), event("placement.crash_loop")).sort()).toEqual(["firing crash_loop", "firing host_unreachable", "resolved drift", "resolved host_suspect"]);
  });

  test("a master that has only begun to listen tells nobody of silence, until it has listened; what is not silence it tells", () => {
    const ledger = new AlertLedger();
    ledger.warmAt = instant(90_000);
    expect(ledger.look(1_000, event("host.unreachable"), event("boot.blocked"))).toEqual(["firing boot_blocked"]);
    expect(ledger.look(89_999)).toEqual([]);
    expect(ledger.look(90_000)).toEqual(["firing host_unreachable"]);
    const back = new AlertLedger();
    back.warmAt = instant(90_000);
    back.look(1_000, event("host.unreachable"));
    expect(back.look(2_000, event("host.active"))).toEqual([]);
    expect(back.look(90_000)).toEqual([]);
  });

  test("of two subjects in one look each has its own end and its own beginning", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("host.unreachable"), event("host.unreachable", OTHERS));
    expect(ledger.look(2_000, event("host.unreachable"), event("host.active", OTHERS))).toEqual(["resolved host_unreachable"]);
    expect(ledger.firing()).toMatchObject([{ hostId: "h1", count: 2 }]);
  });

  test("a backlog in which it ends and comes back much later goes on with the alert that is there", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("host.unreachable"));
    const late = 3_000 + 2 * COOL_MS;
    expect(ledger.look(late, event("host.active", { at: instant(2_000) }), event("host.unreachable", { at: instant(late) }))).toEqual(["reminder host_unreachable"]);
    expect(ledger.firing()).toMatchObject([{ count: 2, firstAt: 1_000 }]);
    expect(ledger.alerts.size).toBe(1);
  });

  test("what an agent says without end has one", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("boot.blocked", { message: "x".repeat(100_000) }));
    expect(ledger.firing()[0]!.message).toHaveLength(2_001);
    ledger.look(2_000, event("boot.complete", { message: "y".repeat(100_000) }));
    expect([...ledger.alerts.values()][0]!.resolvedBecause).toHaveLength(2_001);
  });

  test("an end that no event told of is told as any other", () => {
    const ledger = new AlertLedger();
    ledger.look(1_000, event("breaker.opened"));
    expect(ledger.end(2_000, "its host was decommissioned")).toEqual(["resolved breaker_open"]);
    expect([...ledger.alerts.values()][0]).toMatchObject({ state: "resolved", resolvedBecause: "its host was decommissioned" });
  });
});

const OPENERS = ALERT_RULES.flatMap((rule) => rule.opensOn);
const ENDERS = [...new Set(ALERT_RULES.flatMap((rule) => Object.keys(rule.resolvesOn)))];

/** Three hosts with a placement each of two deployments; every event about one of them. */
function randomEvent(rng: ReturnType<typeof seededRng>): EventRecord {
  const n = below(rng, 3);
  const kinds = rng.float() < 0.6 ? OPENERS : ENDERS;
  return event(kinds[below(rng, kinds.length)]!, { hostId: `h${n}`, deploymentId: `d${n % 2}`, placementId: `p${n}`, lifecycleId: `l${n}` });
}

test("in any order of events: at most one notice per key and cool-down, ends told only of what was told, nothing that fires is kept from anybody, and all is over when all is well", () => {
  let told = 0;
  fc.assert(fc.property(fc.integer(), (seed) => {
    const rng = seededRng(seed);
    const ledger = new AlertLedger();
    let now = 1;
    for (let step = 0; step < 150; step++) {
      now += below(rng, rng.float() < 0.1 ? 2 * COOL_MS : COOL_MS / 10);
      if (rng.float() < 0.05) ledger.acknowledge(now);
      ledger.look(now, ...Array.from({ length: below(rng, 4) }, () => randomEvent(rng)));
    }
    // Silence for long enough: whatever fires has been told by then.
    for (let look = 0; look < 3; look++) ledger.look((now += COOL_MS));
    for (const alert of ledger.firing()) expect(alert, `seed ${seed}`).toMatchObject({ told: true, notifyAt: undefined });
    for (const n of [0, 1, 2]) ledger.look((now += 1), ...ENDERS.map((kind) => event(kind, { hostId: `h${n}`, deploymentId: `d${n % 2}`, placementId: `p${n}`, lifecycleId: `l${n}`, severity: "info" })), event("host.decommissioned", { hostId: `h${n}` }), event("deployment.torn_down", { deploymentId: `d${n % 2}` }));
    expect(ledger.firing().filter((alert) => alert.lastAt < now - 2), `seed ${seed}`).toEqual([]);
    ledger.end((now += 1), "the end");
    for (const key of new Set(ledger.notices.map((notice) => notice.alert.key))) {
      const notices = ledger.notices.filter((notice) => notice.alert.key === key);
      const said = notices.filter((notice) => notice.type !== "resolved");
      for (const [index, notice] of said.entries()) if (index > 0) expect(notice.at - said[index - 1]!.at, `seed ${seed}: ${key}`).toBeGreaterThanOrEqual(COOL_MS);
      let fires = false;
      for (const { type } of notices) {
        expect(fires, `seed ${seed}: ${key}: ${type}`).toBe(type !== "firing");
        fires = type !== "resolved";
      }
      expect(fires, `seed ${seed}: ${key} was never ended`).toBe(false);
      told += notices.length;
    }
  }), { numRuns: 300 });
  expect(told).toBeGreaterThan(1_000);
});

describe("who is told and what becomes of it", () => {
  test("a webhook is told from its severity on, and of the kinds it wants", () => {
    const alert = { kind: "host.unreachable", severity: "error" } as const;
    expect(wantsAlert({ kinds: [], minSeverity: "info" }, alert)).toBe(true);
    expect(wantsAlert({ kinds: ["boot.", "host."], minSeverity: "error" }, alert)).toBe(true);
    expect(wantsAlert({ kinds: ["boot."], minSeverity: "info" }, alert)).toBe(false);
    expect(wantsAlert({ kinds: [], minSeverity: "error" }, { ...alert, severity: "warning" })).toBe(false);
  });

  test("only a 2xx is delivered; a redirect is not followed; gone is gone at once; the last attempt is the end", () => {
    const rng = seededRng(1);
    const answer = (status: number, attempt = 1) => decideDelivery({ kind: "answer", status }, attempt, rng);
    for (const status of [200, 202, 204, 299]) expect(answer(status)).toEqual({ status: "delivered" });
    for (const status of [100, 301, 400, 404, 429, 500, 503]) expect(answer(status)).toMatchObject({ status: "pending", because: expect.stringContaining(String(status)) as string });
    expect(answer(302)).toMatchObject({ because: expect.stringContaining("redirects are not followed") as string });
    expect(answer(410)).toMatchObject({ status: "dead" });
    expect(answer(500, WEBHOOK_ATTEMPTS - 1)).toMatchObject({ status: "pending" });
    expect(answer(500, WEBHOOK_ATTEMPTS)).toMatchObject({ status: "dead", because: "the receiver answered 500, after 8 attempts" });
    expect(decideDelivery({ kind: "failed", because: "no answer within 10000 ms" }, 3, rng)).toMatchObject({ status: "pending", because: "no answer within 10000 ms" });
  });

  test("the waits grow fourfold and add up to at most about a day", () => {
    const longest = { float: () => 0, bytes: () => new Uint8Array() };
    const waits = Array.from({ length: WEBHOOK_ATTEMPTS - 1 }, (_, index) => decideDelivery({ kind: "answer", status: 500 }, index + 1, longest)).map((verdict) => (verdict.status === "pending" ? verdict.retryMs : 0));
    expect(waits.slice(0, 4)).toEqual([30_000, 120_000, 480_000, 1_920_000]);
    const sum = waits.reduce((total, wait) => total + wait, 0);
    expect(sum).toBeGreaterThan(20 * HOUR_MS);
    expect(sum).toBeLessThan(25 * HOUR_MS);
  });
});
