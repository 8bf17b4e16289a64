/** The docker driver's verbs on a real engine: what runs, what is said of it, and that nothing is left behind. */
import { request } from "node:http";
import { beforeAll, describe, expect, test } from "vitest";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { becomes, containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, never, placementOf, prints, seenAs, specOf, textOf } from "./docker-world.ts";

const get = (port: number, path = "/"): Promise<string> => new Promise((resolve, reject) => {
  request({ port, path, agent: false }, (reply) => {
    let text = "";
    reply.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => resolve(text));
  }).on("error", reject).end();
});

describe.skipIf(noEngine())("a component in a container", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));

  test("runs under its labels, is observed, stopped, removed, and its output stays", async () => {
    const { driver, up, owner } = createDockerWorld(engine);
    const labels = labelsFor("web");
    const spec = containerSpec(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo hello; echo oops >&2; while true; do sleep 1 & wait $!; done"]);
    await up(labels, spec);
    const seen = await seenAs(driver, labels);
    expect(seen).toMatchObject({ labels, state: "running", restarts: 0, ports: {} });
    expect(seen?.drift).toBeUndefined();
    expect(seen?.pid).toBeGreaterThan(0);
    await driver.start(labels, spec, never);
    expect(await idsOf(engine, labels)).toHaveLength(1);
    // Only then does it hear what it is told.
    await prints(driver, labels, "hello", "oops");
    await driver.stop(labels, 60_000);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "stopped", exitCode: 0 });
    await driver.remove(labels);
    expect(await driver.observe()).toEqual([]);
    expect((await textOf(driver, labels)).split("\n").sort()).toEqual(["", "bye", "hello", "oops"]);
    await driver.shared!.remove(labels.placementId, { volumes: true }, never);
    expect(await engine.labelled(`skep.host=${owner}`)).toEqual({ containers: [], networks: [], volumes: [] });
  });

  test("what ignores SIGTERM is killed after its timeout", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]));
    await driver.stop(labels, 1_000);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "stopped", exitCode: 137 });
  });

  test("its stop signal is the one it asked for", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(["sh", "-c", "trap 'exit 42' USR1; echo listening; while true; do sleep 1 & wait $!; done"], { container: { stop_signal: "SIGUSR1" } }));
    await prints(driver, labels, "listening");
    await driver.stop(labels, 60_000);
    expect(await seenAs(driver, labels)).toMatchObject({ exitCode: 42 });
  });

  test("has its environment, ports and labels, and no spec forges a label", async () => {
    const { driver, up, owner } = createDockerWorld(engine);
    const labels = labelsFor("web", { generation: 7, epoch: 3 });
    const spec = containerSpec(["sh", "-c", `env; echo at $(pwd) as $(id -u); ${FOREVER[2]}`], {
      env: { A: "one two $HOME", SKEP_JOB: "forged" }, working_dir: "/tmp",
      ports: [{ name: "http", container: 8080, protocol: "tcp" }, { name: "admin-x", container: 9090, protocol: "tcp", publish: false }],
      container: { user: "65534", labels: { "skep.host": "forged", mine: "yes" } },
    });
    await up(labels, spec);
    const text = await prints(driver, labels, "at /tmp as 65534\n");
    for (const line of ["A=one two $HOME", "PORT=8080", "PORT_HTTP=8080", "PORT_ADMIN_X=9090", `SKEP_JOB=${labels.jobId}`, "SKEP_GENERATION=7", "SKEP_EPOCH=3", `SKEP_PLACEMENT=${labels.placementId}`, "at /tmp as 65534"]) expect(text.split("\n")).toContain(line);
    const [id] = await idsOf(engine, labels);
    const { Config } = await engine.ask<{ Config: { Labels: Record<string, string> } }>("GET", `/containers/${id}/json`);
    expect(Config.Labels).toMatchObject({ "skep.host": owner, mine: "yes", "skep.generation": "7", "skep.epoch": "3", "skep.hash": labels.componentHash });
    expect(Config.Labels["skep.spec"]).not.toContain("one two");
  });

  test("publishes what is to be published, where it is asked to, and says where", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(["httpd", "-f", "-p", "80", "-h", "/etc"], {
      ports: [{ name: "http", container: 80, protocol: "tcp", host_ip: "127.0.0.1" }, { name: "hidden", container: 81, protocol: "tcp", publish: false }, { name: "dns", container: 53, protocol: "udp" }],
      probe: { type: "http", port: "http", path: "/passwd", interval_ms: 100, timeout_ms: 20_000, success_threshold: 1, failure_threshold: 50 },
    }));
    const seen = await seenAs(driver, labels);
    expect(Object.keys(seen!.ports).sort()).toEqual(["dns", "http"]);
    expect(await get(seen!.ports["http"]!, "/passwd")).toContain("nobody");
  });

  test("limits, mounts and the rest reach the engine", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(FOREVER, {
      container: {
        init: true, read_only: true, hostname: "box", cap_drop: ["ALL"], extra_hosts: ["db:10.0.0.9"], shm_size_bytes: 33_554_432,
        resources: { cpus: 0.5, memory_bytes: 67_108_864, memory_reservation_bytes: 33_554_432, pids: 50 },
        mounts: [{ type: "tmpfs", target: "/scratch", size_bytes: 1_048_576 }, { type: "volume", volume: "data", target: "/data" }, { type: "bind", source: "/etc", target: "/host-etc", read_only: true }],
      },
    });
    await driver.shared!.ensure(placementOf(labels), { ...specOf(spec), volumes: { data: {} } }, never);
    await driver.prepare(labels, spec, never);
    await driver.start(labels, spec, never);
    await driver.wait(labels, spec, never);
    const [id] = await idsOf(engine, labels);
    const { HostConfig, Config, Mounts } = await engine.ask<{ HostConfig: object; Config: object; Mounts: { Name?: string; Destination: string; RW: boolean }[] }>("GET", `/containers/${id}/json`);
    expect(HostConfig).toMatchObject({
      NanoCpus: 500_000_000, Memory: 67_108_864, MemoryReservation: 33_554_432, PidsLimit: 50, Init: true, ReadonlyRootfs: true, CapDrop: ["ALL"], ExtraHosts: ["db:10.0.0.9"], ShmSize: 33_554_432,
      RestartPolicy: { Name: "no" },
    });
    expect(Config).toMatchObject({ Hostname: "box" });
    expect(Mounts.find(({ Destination }) => Destination === "/host-etc")).toMatchObject({ RW: false });
    expect(Mounts.find(({ Destination }) => Destination === "/data")?.Name).toMatch(/^skep-shop-.{8}-data$/);
    expect((await seenAs(driver, labels))?.drift).toBeUndefined();
    await up(labels, spec);
  });

  test("is found by its labels alone: neither a container of its name, nor a longer name, is taken for it", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor("mc");
    const proxy = labelsFor("mc-proxy", { placementId: labels.placementId, jobId: labels.jobId });
    const name = `skep-shop-${labels.placementId.slice(-8)}-mc-g1-${labels.jobId.slice(-4)}`;
    const { Id: stranger } = await engine.ask<{ Id: string }>("POST", `/containers/create?name=${name}`, { body: { Image: IMAGE, Cmd: FOREVER, HostConfig: { NetworkMode: "none" } } });
    try {
      await up(labels, containerSpec(FOREVER, { name: "mc" }));
      await up(proxy, containerSpec(FOREVER, { name: "mc-proxy" }));
      expect((await driver.observe()).map((one) => one.labels.component).sort()).toEqual(["mc", "mc-proxy"]);
      await driver.stop(labels, 1_000);
      await driver.remove(labels);
      expect((await driver.observe()).map((one) => [one.labels.component, one.state])).toEqual([["mc-proxy", "running"]]);
      expect((await engine.call("GET", `/containers/${stranger}/json`)).status).toBe(200);
    } finally {
      await engine.ask("DELETE", `/containers/${stranger}?force=1`);
    }
  });

  test("two owners on one engine never see each other's, not even the same placement", async () => {
    const one = createDockerWorld(engine);
    const two = createDockerWorld(engine);
    const labels = labelsFor();
    await one.up(labels, containerSpec());
    await two.up(labels, containerSpec());
    await one.driver.stop(labels, 2_000);
    await one.driver.remove(labels);
    expect(await one.driver.observe()).toEqual([]);
    expect(await seenAs(two.driver, labels)).toMatchObject({ state: "running" });
    await two.driver.shared!.remove(labels.placementId, { volumes: true }, never).then(() => expect.unreachable(), (error: { code: string }) => expect(error.code).toBe("network_in_use"));
  });

  test("old and new of one component run at once, and each is stopped by its own labels", async () => {
    const { driver, up } = createDockerWorld(engine);
    const old = labelsFor();
    const next = { ...labelsFor(), placementId: old.placementId, generation: 2, componentHash: "b".repeat(64) };
    await up(old, containerSpec());
    await up(next, containerSpec());
    expect(new Set((await driver.observe()).map((one) => one.labels.generation))).toEqual(new Set([1, 2]));
    await driver.stop(old, 2_000);
    await driver.remove(old);
    expect((await driver.observe()).map((one) => [one.labels.generation, one.state])).toEqual([[2, "running"]]);
  });

  test("an adopted container is known to a new driver, starting until its probe passed", async () => {
    const { up, again } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(["httpd", "-f", "-p", "80", "-h", "/etc"], {
      ports: [{ name: "http", container: 80, protocol: "tcp" }], probe: { type: "tcp", port: "http", interval_ms: 100, timeout_ms: 20_000, success_threshold: 1, failure_threshold: 50 },
    });
    await up(labels, spec);
    const driver = again();
    const first = await seenAs(driver, labels);
    expect(["starting", "running"]).toContain(first?.state);
    await becomes(driver, labels, "running");
    expect(await idsOf(engine, labels)).toHaveLength(1);
  });

  test("a driver without a socket, or with one it will not speak to, sees nothing and offers nothing", async () => {
    for (const dockerHost of ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:2375", "ssh://root@elsewhere", "npipe:////./pipe/docker_engine"]) {
      const { driver } = createDockerWorld(engine, { dockerHost });
      expect(await driver.observe()).toEqual([]);
      expect(driver.available()).toBe(false);
      await expect(driver.prepare(labelsFor(), containerSpec(), never)).rejects.toMatchObject({ code: dockerHost.startsWith("unix") ? "runtime_unavailable" : "engine_refused" });
    }
    const { driver } = createDockerWorld(engine);
    await driver.observe();
    expect(driver.available()).toBe(true);
  });

  test("once it made something, a socket that is gone is not an empty host", async () => {
    const { up, again } = createDockerWorld(engine);
    await up(labelsFor(), containerSpec());
    const driver = again({ dockerHost: "unix:///nowhere/docker.sock" });
    await expect(driver.observe()).rejects.toMatchObject({ code: "runtime_unavailable" });
  });
});
