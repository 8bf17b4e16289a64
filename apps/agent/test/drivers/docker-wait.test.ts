/** Getting there or not, and why not: the words a person reads when a deploy fails. */
import { beforeAll, describe, expect, test } from "vitest";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { becomes, containerSpec, createDockerWorld, FOREVER, IMAGE, labelsFor, never, placementOf, seenAs, specOf, UNSETTLED } from "./docker-world.ts";

const QUICK = { interval_ms: 100, timeout_ms: 20_000, success_threshold: 1, failure_threshold: 2 } as const;

describe.skipIf(noEngine())("waiting for a container", () => {
  const engine = useEngine();
  beforeAll(() => engine.image(IMAGE));

  test("one that exits at once fails with its code and its last words", async () => {
    const { driver, up } = createDockerWorld(engine, UNSETTLED);
    const labels = labelsFor();
    await expect(up(labels, containerSpec(["sh", "-c", "echo cannot open schema >&2; exit 3"]))).rejects.toMatchObject({ code: "exited_early", message: expect.stringMatching(/^web exited with code 3; last output: cannot open schema/) });
    expect(await seenAs(driver, labels)).toMatchObject({ state: "failed", exitCode: 3, error: "exited with code 3" });
  });

  test("one that is restarted again and again says what it said last when time is up", async () => {
    const { driver } = createDockerWorld(engine, UNSETTLED);
    driver.release!();
    const labels = labelsFor();
    const spec = containerSpec(["sh", "-c", "echo cannot open its schema; exit 3"], { restart: { policy: "always" } });
    await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
    await driver.start(labels, spec, never);
    const signal = new AbortController();
    const waiting = driver.wait(labels, spec, signal.signal);
    waiting.catch(() => undefined);
    await becomes(driver, labels, "backoff", (seen) => seen.restarts > 0);
    signal.abort();
    await expect(waiting).rejects.toMatchObject({ code: "exited_early", message: expect.stringMatching(/^web (exited with code 3; restarts in \d+ ms|keeps ending: .* times); last output: .*cannot open its schema/) });
  });

  test("out of memory is said plainly, with the limit", async () => {
    const { driver, up } = createDockerWorld(engine, UNSETTLED);
    const labels = labelsFor();
    const greedy = containerSpec(["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=10"], { container: { resources: { memory_bytes: 16 * 1_048_576 } } });
    await expect(up(labels, greedy)).rejects.toMatchObject({ code: "exited_early", message: expect.stringContaining("out of memory (its limit is 16 MiB)") });
    expect(await seenAs(driver, labels)).toMatchObject({ state: "failed", exitCode: 137 });
  });

  test("an entry point that is not there is the engine's words, and clearing it away works", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    await expect(up(labels, containerSpec(["/no/such/program"]))).rejects.toMatchObject({ code: "program_not_found", message: expect.stringContaining("/no/such/program") });
    expect(await seenAs(driver, labels)).toMatchObject({ state: "failed", error: expect.stringContaining("could not be started") });
    await driver.stop(labels, 1_000);
    await driver.remove(labels);
    expect(await driver.observe()).toEqual([]);
  });

  test("an entry point that may not be executed", async () => {
    const { up } = createDockerWorld(engine);
    await expect(up(labelsFor(), containerSpec(["/etc/passwd"]))).rejects.toMatchObject({ code: "not_executable" });
  });

  test("an image that is not here, and must not be pulled, or cannot be", async () => {
    const { driver } = createDockerWorld(engine);
    await expect(driver.prepare(labelsFor(), containerSpec([], { container: { image: "nowhere:1", pull: "never" } }), never)).rejects.toMatchObject({ code: "image_not_found", message: expect.stringContaining("nowhere:1") });
    // A registry that nobody runs: the engine's own words about it.
    await expect(driver.prepare(labelsFor(), containerSpec([], { container: { image: "127.0.0.1:1/team/app:2" } }), never)).rejects.toMatchObject({ code: "pull_failed", message: expect.stringContaining("127.0.0.1:1") });
  });

  test("what runs to completion is there once it ended with 0, and not while it runs", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor("migrate");
    const spec = containerSpec(["sh", "-c", "sleep 1; echo migrated"], { name: "migrate", run_to_completion: true, restart: { policy: "always" } });
    driver.release!();
    await up(labels, spec);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "exited", exitCode: 0, restarts: 0 });
    // Asked again it is not done again: a migration runs once per job.
    await driver.start(labels, spec, never);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "exited", restarts: 0 });
  });

  test("what should run to completion and does not, fails", async () => {
    const { up } = createDockerWorld(engine);
    await expect(up(labelsFor("migrate"), containerSpec(["sh", "-c", "exit 9"], { name: "migrate", run_to_completion: true }))).rejects.toMatchObject({ code: "exited_early" });
  });

  test("a probe that never passes says what it saw when time is up", async () => {
    const { driver } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(["httpd", "-f", "-p", "80", "-h", "/etc"], { ports: [{ name: "http", container: 80, protocol: "tcp" }], probe: { type: "http", port: "http", path: "/nothing", ...QUICK } });
    await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
    await driver.start(labels, spec, never);
    const signal = new AbortController();
    const waiting = driver.wait(labels, spec, signal.signal);
    waiting.catch(() => undefined);
    await becomes(driver, labels, "unhealthy", (seen) => seen.error?.includes("404") === true);
    signal.abort();
    await expect(waiting).rejects.toMatchObject({ code: "probe_failed", message: expect.stringContaining("404") });
  });

  test("a published port that nobody listens on inside is not healthy, though the engine's proxy answers on the host", async () => {
    const { driver } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(FOREVER, { ports: [{ name: "http", container: 80, protocol: "tcp" }], probe: { type: "tcp", port: "http", ...QUICK } });
    await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
    await driver.start(labels, spec, never);
    const seen = await becomes(driver, labels, "unhealthy", ({ error }) => /refused/i.test(error ?? ""));
    expect(seen.ports["http"]).toBeGreaterThan(0);
  });

  test("an exec probe runs inside, and turns", async () => {
    const { driver, up } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(FOREVER, { probe: { type: "exec", command: ["test", "-e", "/tmp/ready"], ...QUICK } });
    await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
    await driver.start(labels, spec, never);
    await becomes(driver, labels, "unhealthy", (seen) => seen.error?.includes("exited with code 1") === true);
    await driver.exec!({ placementId: labels.placementId, component: "web", command: ["touch", "/tmp/ready"] }, async () => undefined, never);
    await becomes(driver, labels, "running");
    await up(labels, spec);
  });

  test("an exec probe that hangs is killed inside, not left behind", async () => {
    const { driver } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec(FOREVER, { probe: { type: "exec", command: ["sleep", "12345"], ...QUICK, timeout_ms: 200 } });
    await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
    await driver.start(labels, spec, never);
    await becomes(driver, labels, "unhealthy", (seen) => seen.error?.includes("no answer within 200 ms") === true);
    await driver.stop(labels, 3_000);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "stopped" });
  });
});
