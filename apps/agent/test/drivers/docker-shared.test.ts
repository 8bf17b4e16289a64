/** Networks and volumes of a placement, and fixed ports: what two placements on one engine share and must not take from each other. */
import { createServer } from "node:net";
import { beforeAll, describe, expect, test } from "vitest";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, never, placementOf, specOf, textOf } from "./docker-world.ts";
import { eventually, unusedPort } from "@skep/testkit";

describe.skipIf(noEngine())("what belongs to a whole placement", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));
  const inNetwork = (...names: string[]) => containerSpec(FOREVER, { container: { networks: names.map((name) => ({ name })) } });

  test("is made once however often it is asked for at once, by names a person can read", async () => {
    const { driver, owner } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = { ...specOf(containerSpec()), networks: { back: { internal: true } }, volumes: { data: {} } };
    await Promise.all(Array.from({ length: 8 }, () => driver.shared!.ensure(placementOf(labels), spec, never)));
    const short = labels.placementId.slice(-8);
    expect(await engine.labelled(`skep.host=${owner}`)).toEqual({ containers: [], networks: [`skep-shop-${short}-back`, `skep-shop-${short}-default`], volumes: [`skep-shop-${short}-data`] });
    expect(await engine.ask("GET", `/networks/skep-shop-${short}-back`)).toMatchObject({ Internal: true });
  });

  test("networks go when no spec names them; volumes only when that is asked for", async () => {
    const { driver, owner } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = { ...specOf(inNetwork("front", "back")), networks: { front: {}, back: {} }, volumes: { data: {} } };
    await driver.shared!.ensure(placementOf(labels), spec, never);
    await driver.shared!.prune(labels.placementId, { ...specOf(inNetwork("front")), networks: { front: {} } }, never);
    expect(await engine.labelled(`skep.host=${owner}`)).toMatchObject({ networks: [expect.stringMatching(/-front$/)], volumes: [expect.any(String)] });
    await driver.shared!.remove(labels.placementId, { volumes: false }, never);
    expect(await engine.labelled(`skep.host=${owner}`)).toMatchObject({ networks: [], volumes: [expect.any(String)] });
    await driver.shared!.remove(labels.placementId, { volumes: true }, never);
    await driver.shared!.remove(labels.placementId, { volumes: true }, never);
    expect(await engine.labelled(`skep.host=${owner}`)).toEqual({ containers: [], networks: [], volumes: [] });
  });

  test("kept volumes are found again by the deployment's next placement on this host, and serve no two", async () => {
    const { driver, owner } = createDockerWorld(engine);
    const [first, second, third, other] = [labelsFor(), labelsFor(), labelsFor(), labelsFor("web", { deployment: "other" })];
    const spec = containerSpec(["sh", "-c", `cat /data/* 2>/dev/null; echo ${"$SKEP_PLACEMENT"} > /data/$SKEP_PLACEMENT; ${FOREVER[2]}`], { container: { mounts: [{ type: "volume", volume: "data", target: "/data" }] } });
    const whole = { ...specOf(spec), volumes: { data: {} } };
    const run = async (labels: typeof first): Promise<string> => {
      await driver.shared!.ensure(placementOf(labels), whole, never);
      await driver.start(labels, spec, never);
      await driver.wait(labels, spec, never);
      return eventually(async () => (await engine.ask<{ Mounts: { Name: string }[] }>("GET", `/containers/${(await idsOf(engine, labels))[0]}/json`)).Mounts[0]?.Name, { what: "its volume" });
    };
    const clear = async (labels: typeof first, volumes: boolean): Promise<void> => {
      await driver.stop(labels, 2_000);
      await driver.remove(labels);
      await driver.shared!.remove(labels.placementId, { volumes }, never);
    };
    const volume = await run(first);
    await clear(first, false);
    // Another deployment's data is never it; the same one's is; a second placement beside it gets its own.
    expect(await run(other)).not.toBe(volume);
    expect(await run(second)).toBe(volume);
    expect(await run(third)).not.toBe(volume);
    await eventually(async () => (await textOf(driver, second)).includes(first.placementId), { what: "the first placement's data in the second" });
    // A late removal on behalf of the first takes nothing that serves the second by now.
    await driver.shared!.remove(first.placementId, { volumes: true }, never);
    expect((await engine.labelled(`skep.host=${owner}`)).volumes).toContain(volume);
    await clear(second, true);
    expect((await engine.labelled(`skep.host=${owner}`)).volumes).not.toContain(volume);
    expect((await engine.labelled(`skep.host=${owner}`)).volumes).toHaveLength(2);
  });

  test("external ones must exist, are used, and stay", async () => {
    const { driver } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(FOREVER, { container: { networks: [{ name: "corp" }], mounts: [{ type: "volume", volume: "archive", target: "/archive" }] } });
    const whole = { ...specOf(spec), networks: { corp: { external: "corp-lan-of-test" } }, volumes: { archive: { external: "archive-of-test" } } };
    await expect(driver.shared!.ensure(placementOf(labels), whole, never)).rejects.toMatchObject({ code: "network_not_found" });
    await engine.ask("POST", "/networks/create", { body: { Name: "corp-lan-of-test", Labels: { "test.external": "1" } } });
    try {
      await expect(driver.shared!.ensure(placementOf(labels), whole, never)).rejects.toMatchObject({ code: "volume_not_found" });
      await engine.ask("POST", "/volumes/create", { body: { Name: "archive-of-test", Labels: { "test.external": "1" } } });
      await driver.shared!.ensure(placementOf(labels), whole, never);
      await driver.start(labels, spec, never);
      await driver.wait(labels, spec, never);
      const [id] = await idsOf(engine, labels);
      expect(await engine.ask("GET", `/containers/${id}/json`)).toMatchObject({ NetworkSettings: { Networks: { "corp-lan-of-test": expect.anything() } }, Mounts: [{ Name: "archive-of-test" }] });
      await driver.stop(labels, 2_000);
      await driver.remove(labels);
      await driver.shared!.remove(labels.placementId, { volumes: true }, never);
      expect(await engine.labelled("test.external")).toMatchObject({ networks: ["corp-lan-of-test"], volumes: ["archive-of-test"] });
    } finally {
      await engine.removeEverything("test.external");
    }
  });

  test("siblings find each other by component name and alias on a network they share", async () => {
    const { driver } = createDockerWorld(engine);
    const web = labelsFor("web");
    const client = labelsFor("client", { placementId: web.placementId });
    const whole = { networks: { front: {}, back: { internal: true } } };
    const server = containerSpec(["httpd", "-f", "-p", "80", "-h", "/etc"], { container: { networks: [{ name: "front" }, { name: "back", aliases: ["the-web"] }] } });
    const ask = containerSpec(["sh", "-c", "for name in web the-web; do until wget -q -O - http://$name/group | grep root:x:0:; do sleep 0.1; done; done; echo none"], { name: "client", container: { networks: [{ name: "back" }] } });
    await driver.shared!.ensure(placementOf(web), { ...specOf(server, ask), ...whole }, never);
    await driver.start(web, server, never);
    await driver.wait(web, server, never);
    await driver.start(client, ask, never);
    await eventually(async (status) => {
      const text = await textOf(driver, client);
      status(text);
      return text.includes("none");
    }, { what: "the client being done" });
    expect((await textOf(driver, client)).split("root:x:0:").length).toBe(3);
  });

  test("a container whose making was cut off gets the networks it lacks before it is started", async () => {
    const { driver } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = inNetwork("front", "back");
    await driver.shared!.ensure(placementOf(labels), { ...specOf(spec), networks: { front: {}, back: {} } }, never);
    await driver.start(labels, spec, never);
    const [first] = await idsOf(engine, labels);
    const { Config, HostConfig } = await engine.ask<{ Config: object; HostConfig: object }>("GET", `/containers/${first}/json`);
    await driver.stop(labels, 1_000);
    await driver.remove(labels);
    const { Id } = await engine.ask<{ Id: string }>("POST", "/containers/create", { body: { ...Config, HostConfig } });
    await driver.start(labels, spec, never);
    const { NetworkSettings } = await engine.ask<{ NetworkSettings: { Networks: object } }>("GET", `/containers/${Id}/json`);
    expect(Object.keys(NetworkSettings.Networks).map((name) => name.split("-").at(-1)).sort((a, b) => (a! < b! ? -1 : 1))).toEqual(["back", "front"]);
    expect(await idsOf(engine, labels)).toEqual([Id]);
  });

  test("a fixed port that is taken is refused before anything gives way, naming who has it", async () => {
    const { driver, up } = createDockerWorld(engine);
    const port = await unusedPort();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, "0.0.0.0", resolve));
    const spec = containerSpec(FOREVER, { ports: [{ name: "http", container: 80, host: port, protocol: "tcp" }] });
    const first = labelsFor();
    await expect(driver.prepare(first, spec, never)).rejects.toMatchObject({ code: "port_in_use", message: expect.stringContaining("process of the host") });
    await new Promise((resolve) => server.close(resolve));
    await up(first, spec);
    const second = labelsFor("web", { deployment: "other" });
    await expect(driver.prepare(second, spec, never)).rejects.toMatchObject({ code: "port_in_use", message: expect.stringContaining(`shop/web (generation 1, job ${first.jobId})`) });
    // Its own successor may have it; and so may anybody on another protocol.
    await driver.prepare({ ...first, generation: 2 }, spec, never);
    await driver.prepare(second, containerSpec(FOREVER, { ports: [{ name: "dns", container: 53, host: port, protocol: "udp" }] }), never);
    // Down for a moment it still wants it back; stopped for good it does not.
    const [id] = await idsOf(engine, first);
    await engine.ask("POST", `/containers/${id}/kill`);
    await expect(driver.prepare(second, spec, never)).rejects.toMatchObject({ code: "port_in_use" });
    await driver.stop(first, 1_000);
    await driver.prepare(second, spec, never);
  });

  test("a foreign container's port is named as its", async () => {
    const { driver } = createDockerWorld(engine);
    const network = await engine.ask<{ Id: string }>("POST", "/networks/create", { body: { Name: "stranger-net", Labels: { "test.stranger": "1" } } });
    try {
      const { Id } = await engine.ask<{ Id: string }>("POST", "/containers/create?name=stranger", { body: { Image: IMAGE, Cmd: FOREVER, ExposedPorts: { "80/tcp": {} }, Labels: { "test.stranger": "1" }, HostConfig: { NetworkMode: network.Id, PortBindings: { "80/tcp": [{ HostPort: "" }] } } } });
      await engine.ask("POST", `/containers/${Id}/start`);
      const { NetworkSettings } = await engine.ask<{ NetworkSettings: { Ports: Record<string, { HostPort: string }[]> } }>("GET", `/containers/${Id}/json`);
      const port = Number(NetworkSettings.Ports["80/tcp"]![0]!.HostPort);
      await expect(driver.prepare(labelsFor(), containerSpec(FOREVER, { ports: [{ name: "http", container: 80, host: port, protocol: "tcp" }] }), never)).rejects.toMatchObject({ code: "port_in_use", message: expect.stringContaining("container stranger") });
    } finally {
      await engine.removeEverything("test.stranger");
    }
  });

  test("a bind mount whose source is missing is refused before anything gives way", async () => {
    const { driver } = createDockerWorld(engine);
    const spec = containerSpec(FOREVER, { container: { mounts: [{ type: "bind", source: "/no/such/place", target: "/x" }] } });
    await expect(driver.prepare(labelsFor(), spec, never)).rejects.toMatchObject({ code: "mount_not_found" });
  });
});
