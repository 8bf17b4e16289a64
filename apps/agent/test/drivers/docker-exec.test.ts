/** Commands in running containers: their bytes, their ends, and that an abort leaves nothing of them. */
import type { ExecOutput } from "@skep/core";
import { eventually } from "@skep/testkit";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { scanLabelled } from "../../src/runner/proc.ts";
import { becomes, containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, never, type DockerWorld } from "./docker-world.ts";

describe.skipIf(noEngine())("a command in a container", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));

  const run = async ({ driver }: DockerWorld, labels: ReturnType<typeof labelsFor>, command: readonly string[], stdin?: Uint8Array, signal: AbortSignal = never) => {
    const chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    const output = async ({ stream, data }: ExecOutput): Promise<void> => void chunks[stream].push(data);
    const end = await driver.exec!({ placementId: labels.placementId, component: labels.component, command, ...(stdin === undefined ? {} : { stdin }) }, output, signal);
    return { ...end, stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr).toString() };
  };
  const processesIn = async (labels: ReturnType<typeof labelsFor>): Promise<string> => {
    const [id] = await idsOf(engine, labels);
    return JSON.stringify(await engine.ask("GET", `/containers/${id}/top?ps_args=-ef`));
  };

  test("gives its output apart, byte for byte, and its exit code", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec(FOREVER, { env: { WHO: "me" } }));
    expect(await run(world, labels, ["sh", "-c", "echo $WHO; echo no >&2; exit 5"])).toMatchObject({ exitCode: 5, stdout: Buffer.from("me\n"), stderr: "no\n" });
    const bytes = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256));
    expect((await run(world, labels, ["cat"], bytes)).stdout.equals(bytes)).toBe(true);
    expect(await run(world, labels, ["true"], Buffer.from("nobody reads this"))).toMatchObject({ exitCode: 0 });
    expect(await run(world, labels, ["wc", "-c"], new Uint8Array())).toMatchObject({ exitCode: 0, stdout: Buffer.from("0\n") });
  });

  test("is not run by a shell, and what cannot be run says so", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec());
    expect((await run(world, labels, ["echo", "$(touch /tmp/x); `id`"])).stdout.toString()).toBe("$(touch /tmp/x); `id`\n");
    await expect(run(world, labels, ["no-such-program"])).rejects.toMatchObject({ code: "program_not_found" });
    await expect(run(world, labels, ["/etc/passwd"])).rejects.toMatchObject({ code: "not_executable" });
    // The control: a program of its own that ends with the same code is believed.
    expect(await run(world, labels, ["sh", "-c", "exit 127"])).toMatchObject({ exitCode: 127 });
    await expect(run(world, { ...labels, component: "other" }, ["true"])).rejects.toMatchObject({ code: "component_not_running" });
    await world.driver.stop(labels, 2_000);
    await expect(run(world, labels, ["true"])).rejects.toMatchObject({ code: "component_not_running" });
  });

  test("ends with its abort, its descendants that went their own way included, and nothing else does", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec());
    const call = new AbortController();
    const running = run(world, labels, ["sh", "-c", "setsid sleep 4711 & sleep 4712 & sleep 4713"], undefined, call.signal);
    await eventually(async () => ["4711", "4712", "4713"].every((number) => number.length > 0) && /4711.*4712|4712.*4711/.test(await processesIn(labels)), { what: "the command running" });
    call.abort();
    expect(await running).toMatchObject({ exitCode: undefined, signal: "SIGKILL" });
    await eventually(async (status) => {
      const seen = await processesIn(labels);
      status(seen);
      return !/471[123]/.test(seen);
    }, { what: "nothing of it being left" });
    await becomes(world.driver, labels, "running");
  });

  test("left behind by an agent that was killed is ended by the next one, and only that", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec());
    const abandoned = run(world, labels, ["sleep", "4714"]);
    abandoned.catch(() => undefined);
    await eventually(async () => /4714/.test(await processesIn(labels)), { what: "the command running" });
    // Its connection and its memory go, as with a process that is killed; nobody ends the command.
    const next = world.again();
    const other = next.exec!({ placementId: labels.placementId, component: "web", command: ["sh", "-c", "sleep 1; echo alive"] }, async () => undefined, never);
    await eventually(async () => !/4714/.test(await processesIn(labels)), { what: "what was left behind being gone" });
    expect(await other).toEqual({ exitCode: 0 });
    await becomes(next, labels, "running");
  });

  test("and its component are never taken for a process of the host's own driver", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec());
    expect(scanLabelled().get(`${labels.placementId}/web`)).toBeUndefined();
  });

  test("one whose reader is slow waits for it", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec());
    let held: (() => void) | undefined;
    let taken = 0;
    const output = async ({ data }: ExecOutput): Promise<void> => {
      taken += data.length;
      if (held === undefined) await new Promise<void>((resolve) => (held = resolve));
    };
    const request = { placementId: labels.placementId, component: "web", command: ["dd", "if=/dev/zero", "bs=1M", "count=64"] };
    const running = world.driver.exec!(request, output, never);
    await eventually(() => held !== undefined, { what: "the first bytes" });
    const [id] = await idsOf(engine, labels);
    // Still running: 64 MiB fit into no buffer in between.
    await eventually(async () => /dd/.test(JSON.stringify(await engine.ask("GET", `/containers/${id}/top`))), { what: "the command being held back" });
    held!();
    expect(await running).toEqual({ exitCode: 0 });
    expect(taken).toBeGreaterThan(64 * 1_048_576);
  });
});
