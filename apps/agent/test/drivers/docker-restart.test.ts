/** Who starts again what died, when, and what stays down. The engine never does: its policy is always "no". */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { eventually } from "@skep/testkit";
import { becomes, containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, never, placementOf, prints, seenAs, textOf, UNSETTLED } from "./docker-world.ts";

const ALWAYS = { restart: { policy: "always" } } as const;

describe.skipIf(noEngine())("containers that end by themselves", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));
  const kill = async (labels: ReturnType<typeof labelsFor>): Promise<void> => {
    const [id] = await idsOf(engine, labels);
    await engine.ask("POST", `/containers/${id}/kill`);
  };

  test("are started again by their policy, counted, in the same container", async () => {
    const { driver, up } = createDockerWorld(engine);
    driver.release!();
    const labels = labelsFor();
    await up(labels, containerSpec(["sh", "-c", `echo started; ${FOREVER[2]}`], ALWAYS));
    const [id] = await idsOf(engine, labels);
    await prints(driver, labels, "started");
    await kill(labels);
    await becomes(driver, labels, "running", (seen) => seen.restarts === 1);
    expect(await idsOf(engine, labels)).toEqual([id]);
    await eventually(async () => (await textOf(driver, labels)) === "started\nstarted\n", { what: "the output of both lives" });
  });

  test("wait for the release, as a rebooted host's must", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(FOREVER, ALWAYS));
    await kill(labels);
    expect(await becomes(driver, labels, "failed")).toMatchObject({ restarts: 0, exitCode: 137 });
    driver.release!();
    await becomes(driver, labels, "running", (seen) => seen.restarts === 1);
  });

  test("never come back once they were asked to stop, not even under an agent that was restarted meanwhile", async () => {
    const { driver, up, again, stateDir } = createDockerWorld(engine);
    driver.release!();
    const labels = labelsFor();
    await up(labels, containerSpec(FOREVER, ALWAYS));
    await driver.stop(labels, 3_000);
    const next = again();
    next.release!();
    expect(await seenAs(next, labels)).toMatchObject({ state: "stopped", restarts: 0 });
    // The control: the same container without the mark of its stop is taken for crashed.
    const path = join(stateDir, "records", readdirSync(join(stateDir, "records"))[0]!);
    const record = JSON.parse(readFileSync(path, "utf8")) as { stop?: object };
    expect(record.stop).toBeDefined();
    delete record.stop;
    writeFileSync(path, JSON.stringify(record));
    const careless = again();
    careless.release!();
    await becomes(careless, labels, "running", (seen) => seen.restarts === 1);
  });

  test("are given up after their number of tries in a row, with the reason", async () => {
    const { driver } = createDockerWorld(engine, UNSETTLED);
    driver.release!();
    const labels = labelsFor();
    const spec = containerSpec(["sh", "-c", "echo again; exit 4"], { restart: { policy: "on_failure", max: 2 } });
    await driver.shared!.ensure(placementOf(labels), { driver: "docker", components: [spec] }, never);
    await driver.start(labels, spec, never);
    await expect(driver.wait(labels, spec, AbortSignal.timeout(60_000))).rejects.toMatchObject({ code: "exited_early", message: expect.stringMatching(/exited with code 4; gave up after 2 restarts in a row.*again/) });
    expect(await seenAs(driver, labels)).toMatchObject({ state: "failed", restarts: 2 });
  });

  test("with on_failure stay down after a good end, and with never after any", async () => {
    const { driver, up } = createDockerWorld(engine, UNSETTLED);
    driver.release!();
    const good = labelsFor();
    await up(good, containerSpec(["true"], { restart: { policy: "on_failure" } }));
    const bad = labelsFor();
    await expect(up(bad, containerSpec(["sh", "-c", "exit 1"]))).rejects.toMatchObject({ code: "exited_early" });
    expect(await seenAs(driver, good)).toMatchObject({ state: "exited", restarts: 0 });
    expect(await seenAs(driver, bad)).toMatchObject({ state: "failed", restarts: 0 });
  });

  test("are in backoff in between, and a stop ends that", async () => {
    const { driver, up } = createDockerWorld(engine, { timings: { settleMs: 50, backoffBaseMs: 600_000, backoffCapMs: 600_000 } });
    driver.release!();
    const labels = labelsFor();
    await up(labels, containerSpec(FOREVER, ALWAYS));
    await kill(labels);
    expect((await becomes(driver, labels, "backoff")).error).toMatch(/exited with code 137 \(SIGKILL\); restarts in \d+ ms/);
    await driver.stop(labels, 1_000);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "stopped" });
  });

  test("count on under the next agent", async () => {
    const { driver, up, again } = createDockerWorld(engine);
    driver.release!();
    const labels = labelsFor();
    await up(labels, containerSpec(FOREVER, ALWAYS));
    await kill(labels);
    await becomes(driver, labels, "running", (seen) => seen.restarts === 1);
    expect(await seenAs(again(), labels)).toMatchObject({ restarts: 1 });
  });

  test("ended by a reboot they are stopped and not failed, and are started in the same container when they are asked for", async () => {
    const { driver, up, again } = createDockerWorld(engine, { readHostBootId: () => "boot-1" });
    const service = labelsFor("web");
    const migration = labelsFor("migrate");
    const spec = containerSpec(FOREVER);
    await up(service, spec);
    await up(migration, containerSpec(["true"], { name: "migrate", run_to_completion: true }));
    const [id] = await idsOf(engine, service);
    driver.close();
    // As a shutdown does: told to end, and it does so well.
    await engine.ask("POST", `/containers/${id}/stop?t=5`);
    const after = again({ readHostBootId: () => "boot-2" });
    expect(await seenAs(after, service)).toMatchObject({ state: "stopped", error: "host rebooted" });
    expect(await seenAs(after, migration)).toMatchObject({ state: "exited" });
    await after.start(service, spec, never);
    await after.wait(service, spec, AbortSignal.timeout(60_000));
    expect(await idsOf(engine, service)).toEqual([id]);
  });
});
