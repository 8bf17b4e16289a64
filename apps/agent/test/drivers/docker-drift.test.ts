/** Things done behind the agent's back, and that the report says so. */
import { beforeAll, describe, expect, test } from "vitest";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { becomes, containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, never, prints, seenAs } from "./docker-world.ts";

describe.skipIf(noEngine())("a container changed behind the agent's back", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));
  const limited = containerSpec(FOREVER, { container: { resources: { memory_bytes: 67_108_864, cpus: 1, pids: 100 } } });

  test("another limit is drift, and the right one again is none", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, limited);
    expect((await seenAs(driver, labels))?.drift).toBeUndefined();
    const [id] = await idsOf(engine, labels);
    await engine.ask("POST", `/containers/${id}/update`, { body: { Memory: 134_217_728, MemorySwap: 134_217_728, NanoCpus: 500_000_000, PidsLimit: 7, RestartPolicy: { Name: "always" } } });
    expect((await seenAs(driver, labels))?.drift).toEqual([
      "memory limit is 128 MiB instead of 64 MiB", "cpu limit is 0.5 instead of 1", "process limit is 7 instead of 100", "the engine restarts it (always) instead of the agent",
    ]);
    await engine.ask("POST", `/containers/${id}/update`, { body: { Memory: 67_108_864, MemorySwap: 67_108_864, NanoCpus: 1_000_000_000, PidsLimit: 100, RestartPolicy: { Name: "no" } } });
    expect((await seenAs(driver, labels))?.drift).toBeUndefined();
  });

  test("paused is unhealthy and drift, though nothing in it failed; it can still be stopped", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec());
    const [id] = await idsOf(engine, labels);
    await engine.ask("POST", `/containers/${id}/pause`);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "unhealthy", drift: ["paused"], error: expect.stringContaining("paused") });
    await driver.stop(labels, 3_000);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "stopped" });
  });

  test("a detached network is drift", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec());
    const [id] = await idsOf(engine, labels);
    const { NetworkSettings } = await engine.ask<{ NetworkSettings: { Networks: Record<string, object> } }>("GET", `/containers/${id}/json`);
    await engine.ask("POST", `/networks/${Object.keys(NetworkSettings.Networks)[0]}/disconnect`, { body: { Container: id, Force: true } });
    expect((await seenAs(driver, labels))?.drift).toEqual(["network default is detached"]);
  });

  test("removed, it is not merely absent: it failed, and why", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec());
    const [id] = await idsOf(engine, labels);
    await engine.ask("DELETE", `/containers/${id}?force=1`);
    expect(await becomes(driver, labels, "failed")).toMatchObject({ error: "its container was removed by somebody else", drift: ["its container was removed"] });
    // Started anew under the same labels it is whole again, and forgotten when it is cleared away.
    await up(labels, containerSpec());
    expect((await driver.observe()).map(({ state }) => state)).toEqual(["running"]);
    await driver.stop(labels, 1_000);
    await driver.remove(labels);
    expect(await driver.observe()).toEqual([]);
  });

  test("recreated with a newer image under all our labels, as updaters do, it is not what was started", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec());
    const [id] = await idsOf(engine, labels);
    const { Config, HostConfig } = await engine.ask<{ Config: object; HostConfig: object }>("GET", `/containers/${id}/json`);
    await engine.ask("DELETE", `/containers/${id}?force=1`);
    await engine.image("skep-test:newer");
    const { Id } = await engine.ask<{ Id: string }>("POST", "/containers/create", { body: { ...Config, Image: "skep-test:newer", HostConfig } });
    await engine.ask("POST", `/containers/${Id}/start`);
    const drift = (await driver.observe()).flatMap((one) => one.drift ?? []);
    expect(drift).toContain("image is skep-test:newer instead of skep-test:1");
    expect(drift).toContain("made by somebody else under this component's labels (this agent has no record of it)");
    await driver.stop(labels, 2_000);
    await driver.remove(labels);
    expect(await idsOf(engine, labels)).toEqual([]);
  });

  test("stopped by somebody else is an end like any other: its policy decides", async () => {
    const { driver, up } = createDockerWorld(engine);
    driver.release!();
    const [once, always] = [labelsFor("once"), labelsFor("always")];
    const listening = ["sh", "-c", FOREVER[2]!.replace("while", "echo listening; while")];
    await up(once, containerSpec(listening, { name: "once" }));
    await up(always, containerSpec(listening, { name: "always", restart: { policy: "always" } }));
    for (const labels of [once, always]) await prints(driver, labels, "listening");
    for (const labels of [once, always]) for (const id of await idsOf(engine, labels)) await engine.ask("POST", `/containers/${id}/stop?t=50`);
    await becomes(driver, always, "running", (seen) => seen.restarts === 1);
    await becomes(driver, once, "exited");
    await driver.stop(always, 1_000).then(() => driver.wait(always, containerSpec(), never)).then(() => expect.unreachable(), (error: { code: string }) => expect(error.code).toBe("stopped"));
  });

  test("a change is told without being asked for", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec());
    const told = new Promise<void>((resolve) => driver.onChange(resolve));
    for (const id of await idsOf(engine, labels)) await engine.ask("POST", `/containers/${id}/pause`);
    await told;
  });
});
