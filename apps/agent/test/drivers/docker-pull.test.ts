/** Images from a registry: the pull policy, credentials, progress that is real, and a disk that fills. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { eventually, findEngine, startEngine, startRegistry, tempDir, type TestRegistry } from "@skep/testkit";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { containerSpec, createDockerWorld, FOREVER, labelsFor, never } from "./docker-world.ts";

const ROBOT = { username: "robot", password: "s3cret-of-the-registry" };

describe.skipIf(noEngine())("pulling an image", () => {
  const engine = useEngine();
  const busybox = (findEngine() as { busybox: string }).busybox;
  let open: TestRegistry;
  let locked: TestRegistry;
  beforeAll(async () => {
    open = await startRegistry({ busybox });
    locked = await startRegistry({ busybox, credentials: ROBOT });
  });
  afterAll(async () => {
    await open.close();
    await locked.close();
  });
  const using = (image: string, more: object = {}) => containerSpec(FOREVER, { container: { image, ...more } });

  test("brings it when it is missing, and asks nobody when it is there", async () => {
    const { driver, up } = createDockerWorld(engine);
    const image = open.add("team/app:1", { files: { "/version": "one" } });
    const labels = labelsFor();
    await up(labels, using(image));
    open.add("team/app:1", { files: { "/version": "two" } });
    await driver.prepare(labelsFor(), using(image), never);
    const idOf = async (): Promise<string> => (await engine.ask<{ Id: string }>("GET", `/images/${image}/json`)).Id;
    const first = await idOf();
    await driver.prepare(labelsFor(), using(image, { pull: "always" }), never);
    expect(await idOf()).not.toBe(first);
  });

  test("what the registry does not have is not found, in the engine's words", async () => {
    const { driver } = createDockerWorld(engine);
    await expect(driver.prepare(labelsFor(), using(`${open.host}/team/app:none`), never)).rejects.toMatchObject({ code: "image_not_found", message: expect.stringContaining("manifest unknown") });
  });

  test("needs the credential it names, which this host must have, and never shows it", async () => {
    const image = locked.add("team/secret:1");
    const said: unknown[] = [];
    const logger = { debug: (...all: unknown[]) => void said.push(all), info: (...all: unknown[]) => void said.push(all), warn: (...all: unknown[]) => void said.push(all), error: (...all: unknown[]) => void said.push(all), child: () => logger };
    const keys: Record<string, string> = { good: ROBOT.password, wrong: "guess" };
    const { driver } = createDockerWorld(engine, { logger, credential: (name) => (keys[name] === undefined ? undefined : { server: locked.host, username: ROBOT.username, password: keys[name] }) });
    const codeOf = (registry_credential?: string) => driver.prepare(labelsFor(), using(image, registry_credential === undefined ? {} : { registry_credential }), never).then(() => "pulled", (error: { code: string; message: string }) => {
      expect(error.message).not.toMatch(/s3cret|guess|c3JldC/);
      return error.code;
    });
    expect([await codeOf(), await codeOf("wrong"), await codeOf("unknown"), await codeOf("good")]).toEqual(["registry_refused", "registry_refused", "credential_not_found", "pulled"]);
    expect(JSON.stringify(said)).not.toMatch(/s3cret|guess/);
  });

  test("says progress while bytes move and none while they do not, and ends when it is called off", async () => {
    const { driver } = createDockerWorld(engine);
    const image = open.add("team/large:1", { files: { "/data": randomBytes(8 * 1_048_576) } });
    open.stall(true);
    const call = new AbortController();
    let moves = 0;
    const pulling = driver.prepare(labelsFor(), using(image), call.signal, () => moves++);
    pulling.catch(() => undefined);
    // The engine repeats itself while a layer stands still; that is no progress.
    let steady = 0;
    let last = -1;
    await eventually(() => {
      steady = moves > 0 && moves === last ? steady + 1 : 0;
      last = moves;
      return steady >= 10;
    }, { what: "the stalled pull having no more progress to tell" });
    const stalledAt = moves;
    open.stall(false);
    await pulling;
    expect(moves).toBeGreaterThan(stalledAt);

    open.stall(true);
    const other = driver.prepare(labelsFor(), using(open.add("team/large:2", { files: { "/data": randomBytes(1_048_576) } })), call.signal);
    other.catch(() => undefined);
    call.abort();
    await expect(other).rejects.toMatchObject({ code: "aborted" });
    open.stall(false);
  });

  test("onto a disk that fills is said to be that, and works once there is room", async () => {
    const disk = tempDir("small-disk");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m", "tmpfs", disk]);
    const small = await startEngine({ dataRoot: `${disk}/data` });
    try {
      const { driver } = createDockerWorld(small);
      const image = open.add("team/huge:1", { files: { "/data": randomBytes(40 * 1_048_576) } });
      await expect(driver.prepare(labelsFor(), using(image), never)).rejects.toMatchObject({ code: "disk_full", message: expect.stringMatching(/no space left.*free space/s) });
      execFileSync("mount", ["-o", "remount,size=256m", disk]);
      await driver.prepare(labelsFor(), using(image), never);
    } finally {
      await small.stop();
      execFileSync("umount", ["-l", disk]);
    }
  }, 300_000);
});
