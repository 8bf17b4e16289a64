/** What the passes tell of what they did: once each, and after it is in the ledger. */
import { DAY_MS, PRODUCTION_POLICY } from "@skep/core";
import { deployRequest } from "@skep/protocol";
import { expect, test } from "vitest";
import type { ControlDeps } from "../../src/ports.ts";
import { startControl, type Fleet } from "./fleet.ts";

const SPEC = { driver: "noop", components: [{ name: "web" }] };

async function watched(hosts: number): Promise<{ fleet: Fleet; told: string[]; deploy: () => Promise<unknown> }> {
  const told: string[] = [];
  const observe: NonNullable<ControlDeps["observe"]> = {
    onDelta: (result) => void told.push(`delta ${result}`),
    onDispatch: (result) => void told.push(`dispatch ${result}`),
    onProbe: ({ ok }) => void told.push(`probe ${ok ? "ok" : "failed"}`),
    onSweepRow: (reason) => void told.push(`sweep ${reason}`),
    onSweep: (ms) => void told.push(`swept in ${typeof ms}`),
  };
  const fleet = await startControl(hosts, PRODUCTION_POLICY, { observe });
  return { fleet, told, deploy: () => fleet.control.deploy(deployRequest.parse({ name: "app", spec: SPEC, placement: { hosts: fleet.hosts } }), fleet.context()) };
}
/** Passes wait for nothing but the clock, which only we move. */
async function pass(fleet: Fleet, work: Promise<unknown>): Promise<void> {
  let over = false;
  void work.finally(() => (over = true));
  while (!over) await fleet.clock.run(5);
}

test("a delivery that is accepted, and its outcome", async () => {
  const { fleet, told, deploy } = await watched(1);
  await deploy();
  await fleet.work(() => "succeeded");
  expect(told).toEqual(["dispatch accepted", "delta applied"]);
});

test("a delivery that nobody takes is put off, and the sweep says why it ended the row", async () => {
  const { fleet, told, deploy } = await watched(1);
  await deploy();
  await fleet.setAway(fleet.hosts[0]!, true);
  await fleet.store.transaction(async (tx) => void (await tx.casHostStatus((await tx.findHost(fleet.hosts[0]!))!.id, "unreachable", "suspect", "test")));
  await fleet.work(() => undefined);
  expect(told).toEqual(["dispatch put_off"]);
  told.splice(0);
  fleet.clock.advance(DAY_MS);
  await fleet.setAway(fleet.hosts[0]!, true);
  await fleet.store.transaction(async (tx) => void (await tx.casHostStatus((await tx.findHost(fleet.hosts[0]!))!.id, "suspect", "unreachable", "test")));
  await pass(fleet, fleet.control.sweepOnce());
  expect(told).toEqual(["sweep lost", "swept in number"]);
  // Nothing more to change: a pass is told of, and no row.
  told.splice(0);
  await pass(fleet, fleet.control.sweepOnce());
  expect(told).toEqual(["swept in number"]);
});

test("a silent host is probed once", async () => {
  const { fleet, told } = await watched(1);
  // Heard, then silent for longer than is let pass, with a master that has listened all the while.
  for (let at = 0; at < 10; at++) {
    fleet.clock.advance(10_000);
    await pass(fleet, fleet.control.livenessOnce());
  }
  expect(told).toEqual(["probe ok"]);
});
