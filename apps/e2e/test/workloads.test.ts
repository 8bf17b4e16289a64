/**
 * The main job of containers from end to end: an ordinary Compose file on three agents of one real engine, changed
 * in one place, rolled back by itself after a bad image, and gone without a trace.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { eventually } from "@skep/testkit";
import { beforeAll, describe, expect, test } from "vitest";
import { skep, type CliResult } from "../src/harness/cli.ts";
import { containersOf, fetchFrom, oneCopyEach, type Container } from "../src/harness/containers.ts";
import { COMPOSE, makeShopImages } from "../src/harness/shop.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { useFleet } from "./kit/use-fleet.ts";

const IMAGES = { web: "nginx:1.27-alpine", api: "example/api:1.0", cache: "redis:7-alpine", db: "postgres:16-alpine", migrate: "example/api:1.0" };
const HOSTS = ["bee-1", "bee-2", "bee-3"];

describe.skipIf(noEngine())("a Compose application on three agents of one engine", () => {
  const engine = useEngine();
  const site = useFleet("workloads", { intervalMs: 500 });
  const agents: Agent[] = [];
  let file = "";

  beforeAll(async () => {
    await makeShopImages(engine);
    file = join(site.fleet.dir, "compose.yaml");
    writeFileSync(file, COMPOSE);
    // One host's owner allows commands in workloads; the others say nothing, which is no.
    const config = join(site.fleet.dir, "agent.toml");
    writeFileSync(config, "[allow]\nexec = true\n");
    for (const name of HOSTS) agents.push(await site.fleet.addAgent(name, { env: { DOCKER_HOST: `unix://${engine.socketPath}`, ...(name === "bee-1" ? { SKEP_AGENT_CONFIG: config } : {}) } }));
    await eventually(async () => {
      const rehearsed = await skep(site.fleet.api, ["deploy", "-f", file, "--dry-run", ...HOSTS.flatMap((host) => ["--host", host])]);
      return rehearsed.code === 0 ? true : undefined;
    }, { what: "every agent offers its engine", timeoutMs: 90_000 }).catch(async (error: unknown) => {
      throw new Error(`${String(error)}: ${(await skep(site.fleet.api, ["deploy", "-f", file, "--dry-run", "--host", "bee-1"])).stderr}`);
    });
  });

  const hostIds = (): string[] => agents.map((agent) => agent.hostId).sort();
  const cli = (...argv: string[]) => skep(site.fleet.api, argv);
  /** A host whose beat is late on a busy machine gets nothing new until it is heard again: then it is asked for again. */
  const deploysTo = (...hosts: string[]): Promise<CliResult> => eventually(async (status) => {
    const ran = await cli("deploy", "-f", file, ...hosts.flatMap((host) => ["--host", host]));
    status(`${ran.code} ${ran.stderr}`);
    return ran.stderr.includes("[no_eligible_host]") && /its heartbeat is late|: unreachable/.test(ran.stderr) ? undefined : ran;
  }, { what: `shop is deployed to ${hosts.join(", ")}`, timeoutMs: 180_000 });
  /** The program's output reaches the log when it is read from the container, not when a probe passes. */
  const logsShow = (lines: RegExp, wanted: readonly string[], ...flags: string[]): Promise<unknown> => eventually(async (status) => {
    const logs = await cli("logs", "shop", ...flags);
    status(`${logs.code} ${logs.stdout} ${logs.stderr}`);
    return logs.code === 0 && logs.stdout.match(lines)?.join("; ") === wanted.join("; ");
  }, { what: `the log shows ${wanted.join("; ")}`, timeoutMs: 60_000 });
  const idsBut = (containers: readonly Container[], component: string): string[] => containers.filter((one) => one.component !== component).map((one) => one.id).sort();
  const rows = async () => (await site.fleet.api.get("/v1/lifecycle?deployment=shop&limit=200")).items as any[];

  test("is deployed in the order of its health checks, and answers on every host", async () => {
    const deployed = await deploysTo(...HOSTS);
    expect(deployed, deployed.stderr + deployed.stdout).toMatchObject({ code: 0 });
    const containers = await oneCopyEach(engine, "shop", hostIds(), IMAGES, ["migrate"]);
    for (const web of containers.filter((one) => one.component === "web")) await eventually(async () => (await fetchFrom(web.ports[0]!.host)).includes("shop"), { what: `${web.host} serves the shop`, timeoutMs: 60_000 });
    // Each placement is a world of its own: three networks and three volumes, all labelled.
    const ours = await engine.labelled("skep.deployment=shop");
    expect([ours.networks.length, ours.volumes.length]).toEqual([3, 3]);
    // The oldest: what a repair did since is another story.
    const names = (await rows()).at(-1).steps.map((step: any) => step.name);
    const at = (name: string): number => names.indexOf(name);
    expect(at("start api")).toBeGreaterThan(Math.max(at("wait db"), at("wait cache"), at("wait migrate")));
    expect(at("start web")).toBeGreaterThan(at("wait api"));
    await eventually(async () => (await site.fleet.api.get("/v1/deployments/shop")).status === "active", { what: "shop is active", timeoutMs: 60_000 });
  });

  test("a change of one component touches only that component, on every host, in waves", async () => {
    const before = await containersOf(engine, "shop");
    const mutated = await cli("mutate", "shop", "--component", "api", "--image", "example/api:1.1", "--max-parallel", "1");
    expect(mutated, mutated.stderr + mutated.stdout).toMatchObject({ code: 0 });
    const after = await oneCopyEach(engine, "shop", hostIds(), { ...IMAGES, api: "example/api:1.1" }, ["migrate"]);
    expect(idsBut(after, "api")).toEqual(idsBut(before, "api"));
    // One at a time: no two rows of that generation were under way together.
    const spans = (await rows()).filter((row) => row.operation === "mutate").map((row) => [Date.parse(row.started_at), Date.parse(row.completed_at)] as const).sort((a, b) => a[0] - b[0]);
    expect(spans).toHaveLength(3);
    for (const [index, [start]] of spans.entries()) if (index > 0) expect(start).toBeGreaterThanOrEqual(spans[index - 1]![1]);
  });

  test("its output and a command in it are those of the container that runs now", async () => {
    // Both lives of the component, in one stream: the first one's container is long gone.
    await logsShow(/api 1\.[01] is up/g, ["api 1.0 is up", "api 1.1 is up"], "--component", "api", "--host", "bee-1");
    expect(await cli("exec", "shop/api", "--host", "bee-1", "--", "/bin/sh", "-c", "cat /www/version; exit 7")).toMatchObject({ code: 7, stdout: "1.1\n" });
    const refused = await cli("exec", "shop/api", "--host", "bee-2", "--", "/bin/true");
    expect(refused).toMatchObject({ code: 125, stderr: expect.stringContaining("exec_not_allowed") as string });
  });

  test.each([
    ["an image that does not exist", "example/api:9.9", /example\/api:9\.9/],
    ["an entry point that exits at once", "example/api:2.0-exits", /cannot open its schema/],
    ["a health check that never passes", "example/api:2.0-sick", /probe/],
  ])("%s is rolled back everywhere by itself, and the row says what went wrong where", async (_name, image, words) => {
    const before = await containersOf(engine, "shop");
    const mutated = await cli("mutate", "shop", "--component", "api", "--image", image, "--max-parallel", "1", "--progress-deadline", "20s");
    expect(mutated, mutated.stderr + mutated.stdout).toMatchObject({ code: 6 });
    const after = await oneCopyEach(engine, "shop", hostIds(), { ...IMAGES, api: "example/api:1.1" }, ["migrate"]);
    expect(idsBut(after, "api")).toEqual(idsBut(before, "api"));
    // One that keeps ending or never answers has not failed yet when its rollout gives up: then its row was cancelled.
    const failed = (await rows()).find((row) => row.status === "failed" || row.status === "cancelled");
    expect(failed?.error).toMatch(words);
    expect(HOSTS).toContain(failed.host);
    // The release is whole: one generation everywhere, and it is the good one.
    await eventually(async (status) => {
      const { status: word, placements, generation } = await site.fleet.api.get("/v1/deployments/shop");
      status(JSON.stringify([word, generation, placements.map((one: any) => [one.host, one.generation, one.applied_generation, one.state])]));
      return word === "active" && placements.every((one: any) => one.generation === generation && one.applied_generation === generation);
    }, { what: "one generation everywhere", timeoutMs: 60_000 });
  });

  test("is torn down without a trace, and keeps its data unless told otherwise", async () => {
    const down = await cli("teardown", "shop");
    expect(down, down.stderr + down.stdout).toMatchObject({ code: 0 });
    expect(await engine.labelled("skep.deployment=shop")).toMatchObject({ containers: [], networks: [], volumes: [expect.any(String), expect.any(String), expect.any(String)] });
    const again = await deploysTo("bee-1");
    expect(again, again.stderr + again.stdout).toMatchObject({ code: 0 });
    // The data of the first life is there in the second: the database wrote one line at each of its starts.
    const db = (await containersOf(engine, "shop")).find((one) => one.component === "db")!;
    await logsShow(/started before/, ["started before"], "--component", "db");
    expect(db.state).toBe("running");
    const gone = await cli("teardown", "shop", "--volumes");
    expect(gone, gone.stderr + gone.stdout).toMatchObject({ code: 0 });
    const left = await engine.labelled("skep.deployment=shop");
    expect([left.containers, left.networks, left.volumes.length]).toEqual([[], [], 2]);
  });
});
