/** What the liveness pass makes of the one question it asks a silent host, and of a circuit that does not let it ask. */
import { expect, test } from "vitest";
import type { HealthAnswer } from "../../src/ports.ts";
import { startControl, type Fleet } from "./fleet.ts";

const STEP_MS = 15_000;

/** The host beats once, then never again; passes run as they do in production. */
async function silentFor(ms: number, health: () => HealthAnswer): Promise<Fleet> {
  const fleet = await startControl(1, undefined, { answers: { health: async () => health() } });
  // Warm-up is over before the silence begins.
  for (let passed = 0; passed < 120_000; passed += STEP_MS) {
    fleet.clock.advance(STEP_MS);
    await fleet.beat();
    await fleet.control.livenessOnce();
  }
  for (let passed = 0; passed < ms; passed += STEP_MS) {
    fleet.clock.advance(STEP_MS);
    await fleet.control.livenessOnce();
  }
  return fleet;
}

const hostOf = async (fleet: Fleet) => (await fleet.store.findHost("web-1"))!;
const failed: HealthAnswer = { ok: false, ms: 5_000, error: "no answer within 5000 ms" };
const withheld = (failedAgoMs: number | undefined): HealthAnswer => ({ ok: false, ms: 0, error: "the circuit is open", withheld: { failedAgoMs, consecutiveFailures: 5, stranger: false } });

test("a silent host that does not answer either is unreachable after three intervals, and the question is on record", async () => {
  const fleet = await silentFor(90_000, () => failed);
  expect(await hostOf(fleet)).toMatchObject({ status: "unreachable", lastProbe: { ok: false, error: failed.error } });
});

test("control: one that answers stays suspect until the hard limit", async () => {
  const alive: HealthAnswer = { ok: true, ms: 3, health: { status: "ok", phase: "ready", version: "1", boot_id: "b" } };
  expect(await hostOf(await silentFor(165_000, () => alive))).toMatchObject({ status: "suspect", lastProbe: { ok: true } });
  expect(await hostOf(await silentFor(180_000, () => alive))).toMatchObject({ status: "unreachable" });
});

test("an open circuit is an opinion of ours: a host that was heard after the calls failed is not given up for it", async () => {
  const fleet = await silentFor(165_000, () => withheld(1_000_000));
  // Nobody asked, so nothing is on record as asked.
  expect(await hostOf(fleet)).toMatchObject({ status: "suspect", lastProbe: undefined });
  const never = await silentFor(165_000, () => withheld(undefined));
  expect(await hostOf(never)).toMatchObject({ status: "suspect", lastProbe: undefined });
});

test("the calls that opened it are facts: made since the host was last heard, they are the answer", async () => {
  const fleet = await silentFor(90_000, () => withheld(10_000));
  expect(await hostOf(fleet)).toMatchObject({ status: "unreachable", lastProbe: undefined, statusBecause: expect.stringContaining("the circuit is open") as string });
});
