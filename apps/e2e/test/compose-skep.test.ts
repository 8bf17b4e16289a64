/**
 * The repository's own docker-compose.yml on a real engine, with images made by hand under the tags it names, deployed
 * by Skep itself: a fleet in containers, whose agents turn green, run by the fleet under test.
 */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, findEngine, startEngine, type Engine } from "@skep/testkit";
import { noEngine } from "@skep/testkit/vitest";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { execFileSync } from "node:child_process";
import { skep } from "../src/harness/cli.ts";
import { containersOf } from "../src/harness/containers.ts";
import { makeMachineImage, postgresImage, skepImage } from "../src/harness/machine-image.ts";
import { useFleet } from "./kit/use-fleet.ts";

const FILE = fileURLToPath(new URL("../../../docker-compose.yml", import.meta.url));

describe.skipIf(noEngine() || inject("postgres").system === null)("docker-compose.yml", () => {
  // Slow beats: an agent that this machine holds up for a moment is not late, and takes what it is asked.
  const site = useFleet("compose-skep", { intervalMs: 5_000 });
  let engine: Engine;
  let file: string;

  beforeAll(async () => {
    const tools = findEngine();
    if ("missing" in tools) throw new Error(tools.missing);
    engine = await startEngine();
    await makeMachineImage(engine, "postgres:17", tools.busybox, postgresImage(execFileSync("pg_config", ["--bindir"], { encoding: "utf8" }).trim()));
    await makeMachineImage(engine, "skep:local", tools.busybox, skepImage());
    await site.fleet.addAgent("outer", { env: { DOCKER_HOST: `unix://${engine.socketPath}` } });
    file = join(site.fleet.dir, "docker-compose.yml");
    copyFileSync(FILE, file);
  }, 600_000);
  afterAll(async () => {
    await site.fleet.stop().catch(() => undefined);
    await engine?.stop();
  });

  test("comes up whole: the CA is made, bundles are written, and both inner agents are active", async () => {
    await eventually(async () => (await skep(site.fleet.api, ["deploy", "-f", file, "--ignore-build", "--dry-run"], { cwd: site.fleet.dir })).code === 0, { what: "the agent to offer its engine", timeoutMs: 90_000 });
    const deployed = await skep(site.fleet.api, ["deploy", "-f", file, "--ignore-build"], { cwd: site.fleet.dir });
    expect(deployed, deployed.stdout + deployed.stderr).toMatchObject({ code: 0 });
    const containers = await containersOf(engine, "skep");
    expect(containers.map((one) => one.component)).toEqual(["agent-1", "agent-2", "bundles", "master", "postgres", "prepare"]);
    const hosts = await eventually(async (status) => {
      const seen = inMaster(containers.find((one) => one.component === "master")!.id, "host", "ls", "--json");
      status(seen);
      const { items } = JSON.parse(seen) as { items: { name: string; status: string }[] };
      return items.length === 2 && items.every((host) => host.status === "active") ? items : undefined;
    }, { what: "both inner agents are active", timeoutMs: 180_000 });
    expect(hosts.map((host) => host.name).sort()).toEqual(["agent-1", "agent-2"]);
  });

  test("is gone with its data when that is asked for", async () => {
    const down = await skep(site.fleet.api, ["teardown", "skep", "--volumes"]);
    expect(down, down.stdout + down.stderr).toMatchObject({ code: 0 });
    expect(await engine.labelled("skep.deployment=skep")).toEqual({ containers: [], networks: [], volumes: [] });
  });

  /** As the file's own comment says it is to be asked. */
  const inMaster = (id: string, ...argv: string[]): string =>
    execFileSync("docker", ["-H", `unix://${engine.socketPath}`, "exec", id, "skep", "--state-dir", "/var/lib/skep", ...argv], { encoding: "utf8" });
});
