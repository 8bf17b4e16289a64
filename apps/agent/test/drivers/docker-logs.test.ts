/** Captured output: whole, once, and longer-lived than container, agent and engine. */
import { eventually } from "@skep/testkit";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, textOf, type DockerWorld } from "./docker-world.ts";

/** Prints its numbers, alternately on both streams, then stays. */
const counting = (count: number, then = FOREVER[2]): string[] => ["sh", "-c", `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); if [ $((i%2)) = 0 ]; then echo "line $i" >&2; else echo "line $i"; fi; done; ${then}`];
const lines = (text: string): number[] => [...text.matchAll(/^line (\d+)$/gm)].map((match) => Number(match[1]));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const sorted = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);

describe.skipIf(noEngine())("a container's output", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));
  const has = (driver: DockerWorld["driver"], labels: ReturnType<typeof labelsFor>, count: number) =>
    eventually(async (status) => {
      const seen = lines(await textOf(driver, labels).catch(() => ""));
      status(`${seen.length} lines`);
      return seen.length >= count ? seen : undefined;
    }, { what: `${count} lines` });

  test("is kept whole, both streams, though the container is removed the moment it ended", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(counting(5_000, "exit 0"), { run_to_completion: true }));
    await driver.stop(labels, 1_000);
    await driver.remove(labels);
    expect(await idsOf(engine, labels)).toEqual([]);
    expect(sorted(lines(await textOf(driver, labels)))).toEqual(upTo(5_000));
  });

  test("goes on under the next agent without a hole or a duplicate, whenever the one before it went", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec(["sh", "-c", `i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "line $i"; [ $((i%100)) = 0 ] && sleep 0.02; done; ${FOREVER[2]}`]));
    for (const count of [200, 600, 1_000, 1_500]) await has(world.again(), labels, count);
    const driver = world.again();
    await has(driver, labels, 3_000);
    expect(lines(await textOf(driver, labels))).toEqual(upTo(3_000));
  });

  test("that was printed while no agent was there is copied, also of one that ended meanwhile", async () => {
    const world = createDockerWorld(engine);
    const labels = labelsFor();
    await world.up(labels, containerSpec(["sh", "-c", "mkfifo /tmp/go; echo line 1; read < /tmp/go; echo line 2"]));
    await has(world.driver, labels, 1);
    world.driver.close();
    const [id] = await idsOf(engine, labels);
    const { Id } = await engine.ask<{ Id: string }>("POST", `/containers/${id}/exec`, { body: { Cmd: ["sh", "-c", "echo > /tmp/go"] } });
    await engine.ask("POST", `/exec/${Id}/start`, { body: { Detach: true } });
    await engine.ask("POST", `/containers/${id}/wait`);
    const driver = world.again();
    await has(driver, labels, 2);
    expect(lines(await textOf(driver, labels))).toEqual([1, 2]);
  });

  test("of one container follows that of the one before it", async () => {
    const { driver, up } = createDockerWorld(engine);
    const first = labelsFor();
    await up(first, containerSpec(["echo", "line 1"], { run_to_completion: true }));
    await driver.remove(first);
    const second = { ...labelsFor(), placementId: first.placementId, generation: 2 };
    await up(second, containerSpec(["echo", "line 2"], { run_to_completion: true }));
    await driver.remove(second);
    expect(lines(await textOf(driver, second))).toEqual([1, 2]);
  });

  test("bytes that are no text, and a line longer than any of the engine's pieces, come through", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' 'x'; echo; printf '\\033[31mred\\000\\n'"], { run_to_completion: true }));
    await driver.remove(labels);
    const text = await textOf(driver, labels);
    expect(text).toBe(`${"x".repeat(100_000)}\n\u001b[31mred\u0000\n`);
  });

  test("is bounded on disk, and offsets go on counting", async () => {
    const { driver, up } = createDockerWorld(engine, { logs: { segmentBytes: 10_000, segments: 3 } });
    const labels = labelsFor();
    await up(labels, containerSpec(counting(10_000, "exit 0"), { run_to_completion: true }));
    await driver.remove(labels);
    const { data, nextOffset } = await driver.logs(labels.placementId, "web", 0, 1_000_000);
    expect(data.length).toBeLessThanOrEqual(30_000);
    expect(nextOffset).toBeGreaterThan(80_000);
  });

  test("of what was never started is not there", async () => {
    const { driver } = createDockerWorld(engine);
    await expect(driver.logs(labelsFor().placementId, "web", 0, 10)).rejects.toMatchObject({ code: "logs_not_found" });
  });
});
