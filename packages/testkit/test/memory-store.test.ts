/** What the memory store adds to the port: transactions that can be killed or cut, and rules that can be switched off. */
import { PRODUCTION_POLICY, type DeploymentId, type HostId, type JobId, type PlacementId, type Policy, type Tx } from "@skep/core";
import { expect, test } from "vitest";
import { ManualClock, createMemoryDatabase, type StorePoint } from "@skep/testkit";

const host = "h-1" as HostId;
const deployment = "d-1" as DeploymentId;
const placement = "p-1" as PlacementId;
const job = "j-1" as JobId;

async function seed(tx: Tx): Promise<void> {
  await tx.insertHost({ id: host, name: "web-01", labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined });
  await tx.insertDeployment({ id: deployment, name: "web", generation: 1, desired: "running", reconcile: "auto", placement: { replicas: 1 }, rollout: {} });
  await tx.insertPlacement({ id: placement, deploymentId: deployment, hostId: host, desired: "running", epoch: 1, generation: 1 });
  await insertRow(tx, job);
}
const insertRow = (tx: Tx, id: JobId): ReturnType<Tx["insertLifecycle"]> =>
  tx.insertLifecycle({ id, placementId: placement, deploymentId: deployment, hostId: host, operation: "deploy", generation: 1, epoch: 1, timeoutS: 60, because: "test" });

const open = (policy: Partial<Policy> = {}) => createMemoryDatabase({ clock: new ManualClock(), policy: { ...PRODUCTION_POLICY, ...policy } });

test("nobody sees a transaction before its commit, and a thrown one leaves nothing", async () => {
  const database = open();
  const writer = database.connect();
  const reader = database.connect();
  await expect(
    writer.transaction(async (tx) => {
      await seed(tx);
      expect(await tx.findHost("web-01")).toBeDefined();
      expect(await reader.findHost("web-01")).toBeUndefined();
      throw new Error("changed my mind");
    }),
  ).rejects.toThrow("changed my mind");
  expect(await reader.findHost("web-01")).toBeUndefined();
  // The control: the same work, not thrown away.
  await writer.transaction(seed);
  expect(await reader.findHost("web-01")).toMatchObject({ id: host, status: "pending" });
});

test("a session killed before its commit leaves nothing and no lock; killed after it, everything", async () => {
  const database = open();
  for (const point of ["statement", "commit", "committed"] as const) {
    let dead = (): void => undefined;
    const killed = new Promise<void>((resolve) => (dead = resolve));
    const victim = database.connect({
      latency: (at: StorePoint) => {
        if (at === point && armed) {
          victim.kill();
          dead();
        }
        return Promise.resolve();
      },
    });
    let armed = false;
    let returned = false;
    void victim
      .transaction(async (tx) => {
        armed = true;
        await tx.insertHost({ id: `${point}` as HostId, name: point, labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined });
      })
      .then(() => void (returned = true));
    await killed;
    const other = database.connect();
    // Proves that the lock was given back: a transaction by somebody else gets through.
    await other.transaction((tx) => tx.updateHost("nobody" as HostId, {}));
    expect(await other.findHost(point).then((found) => found !== undefined)).toBe(point === "committed");
    expect(returned).toBe(false);
  }
});

test("a connection cut at `committed` has committed, cut at `commit` it has not", async () => {
  for (const point of ["commit", "committed"] as const) {
    const database = open();
    const cut = database.connect({ latency: (at) => (at === point ? Promise.reject(new Error("cut")) : Promise.resolve()) });
    await expect(cut.transaction(seed)).rejects.toThrow("cut");
    expect((await database.connect().findHost("web-01")) !== undefined).toBe(point === "committed");
  }
});

test("one open row per placement; a change needs the version it believed in; a terminal row is frozen", async () => {
  const store = open().connect();
  await store.transaction(seed);
  expect(await store.transaction((tx) => insertRow(tx, "j-2" as JobId))).toBe("operation_in_progress");
  const cas = (expectedVersion: number, status: "running" | "succeeded" | "failed") =>
    store.transaction((tx) => tx.casLifecycle({ id: job, expectedVersion, status, because: "test", ...(status === "failed" ? { failureCode: "agent_error" as const } : {}) }));
  expect(await cas(7, "running")).toBeUndefined();
  expect(await cas(1, "running")).toMatchObject({ status: "running", version: 2 });
  expect(await cas(2, "succeeded")).toMatchObject({ status: "succeeded", version: 3 });
  expect(await cas(3, "failed")).toBeUndefined();
  expect(await store.transaction((tx) => insertRow(tx, "j-2" as JobId))).toBe("inserted");
});

test("the control of the compare-and-set: without it the same late write lands on the terminal row", async () => {
  const store = open({ compareAndSet: false }).connect();
  await store.transaction(seed);
  const late = (status: "succeeded" | "failed") =>
    store.transaction((tx) => tx.casLifecycle({ id: job, expectedVersion: 1, status, because: "test", ...(status === "failed" ? { failureCode: "agent_error" as const } : {}) }));
  await late("succeeded");
  expect(await late("failed")).toMatchObject({ status: "failed" });
});
