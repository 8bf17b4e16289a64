/**
 * A host is rebooted under a real agent: its agent, its runners and its workloads die at once, and the kernel says
 * another boot. It comes up in its owner's order, waits for its foundation while it goes on beating, goes on without
 * what is no foundation, takes what it was asked meanwhile, and can be told to leave at any moment.
 */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { skep } from "../src/harness/cli.ts";
import { killRunners, type Agent } from "../src/harness/fleet.ts";
import { accepted, ended, succeeds } from "../src/harness/operations.ts";
import { useFleet } from "./kit/use-fleet.ts";

let bee: Agent;
const site = useFleet("boot", { intervalMs: 1_000 }, async (fleet) => {
  bee = await fleet.addAgent("bee", { env: { SKEP_HOST_BOOT_ID: "first" } });
});

/** Writes its name and pid down when it is started (a shell does, for node needs seconds on a busy machine); without its flag it ends at once (`exits`) or never listens. */
const program = (order: string, flag: string, exits: boolean): string[] => ["/bin/sh", "-c", 'echo "$SKEP_DEPLOYMENT $$" >> "$0"; exec "$@"', order, process.execPath, "-e", `
  const fs = require("node:fs");
  const listen = () => {
    if (fs.existsSync(${JSON.stringify(flag)})) require("node:net").createServer(() => {}).listen(Number(process.env.PORT), "127.0.0.1");
    else if (${exits}) process.exit(1);
    else setTimeout(listen, 50);
  };
  listen();
  setInterval(() => {}, 1000);`];

const CONFIG = `
[[boot.sequence]]
name = "base"
services = ["dns"]
timeout = "3s"
health = "tcp"

[[boot.sequence]]
name = "secrets"
services = ["ca"]
timeout = "60s"

[[boot.sequence]]
name = "data"
deployments = ["db", "cache"]
timeout = 60
health = { type = "tcp", port = "main", interval_ms = 100 }

[[boot.sequence]]
name = "optional"
services = ["search"]
timeout = "2s"
health = { type = "tcp", port = "main", interval_ms = 100 }

[[boot.sequence]]
name = "edge"
services = ["web"]
timeout = "60s"
health = "none"
`;

const flag = (name: string): string => join(site.fleet.dir, `${name}.up`);

test("five stages after a reboot: order, a foundation that blocks, one member left behind, and what was asked meanwhile is done", async () => {
  const { fleet } = site;
  const order = join(fleet.dir, "order");
  const starts = (): { name: string; pid: string }[] => (existsSync(order) ? readFileSync(order, "utf8").split("\n").slice(0, -1) : []).map((line) => ({ name: line.split(" ")[0]!, pid: line.split(" ")[1]! }));
  const started = (): string[] => starts().map(({ name }) => name);
  /** By the kernel's word, in ticks since the machine started: who writes first is up to who has the processor first. */
  const begunAt = (name: string): number => Number(readFileSync(`/proc/${starts().findLast((one) => one.name === name)!.pid}/stat`, "utf8").split(") ")[1]!.split(" ")[19]);
  const deployment = (name: string): object => ({
    name, placement: { hosts: ["bee"] },
    spec: { driver: "process", components: [{ name: "main", command: program(order, flag(name), name === "dns"), ports: [{ name: "main" }], restart: { policy: "never" }, stop_timeout_s: 1 }] },
  });
  const bootEvents = async (): Promise<{ kind: string; message: string }[]> => (await fleet.api.get("/v1/events?kind=boot&limit=200")).items;
  /** What is said again of the same is no news. */
  const bootNews = async (): Promise<string[]> => (await bootEvents()).map((event) => event.kind).filter((kind, index, all) => kind !== all[index - 1]);
  const health = (): Promise<any> => fleet.api.get("/v1/hosts/bee/health");

  await Promise.all(["dns", "ca", "db", "cache", "search", "web", "idle"].map((name) => {
    appendFileSync(flag(name), "");
    return succeeds(fleet.api, "/v1/deployments", deployment(name));
  }));
  writeFileSync(join(bee.identityDir, "agent.toml"), CONFIG);

  // The machine goes down: nothing of it is left, and it comes back with another boot, without dns's disk.
  await bee.kill("SIGKILL");
  killRunners(bee.stateDir);
  for (const name of ["dns", "search"]) rmSync(flag(name));
  rmSync(order);
  const reboot = { SKEP_HOST_BOOT_ID: "second" };
  const firstStart = bee.start(reboot).catch((error: unknown) => error);

  const blocked = await eventually(async (status) => {
    const seen = await health();
    status(JSON.stringify(seen.reasons));
    return seen.boot?.state === "blocked" && seen.status === "active" && seen;
  }, { what: "the foundation blocks, and the host is heard", timeoutMs: 60_000 });
  expect(blocked).toMatchObject({ health: "degraded", status: "active", liveness: { phase: "booting" }, boot: { stage: "base", state: "blocked", members: [{ name: "dns", healthy: false }] } });
  expect(blocked.reasons).toContainEqual(expect.objectContaining({ code: "boot_blocked", message: expect.stringMatching(/stage base.*dns: /) }));
  expect(await bootNews()).toEqual(["boot.blocked"]);
  // Tried again and again, and nothing else before it.
  await eventually(() => started().includes("dns"), { what: "dns has written its name", timeoutMs: 60_000 });
  expect(new Set(started())).toEqual(new Set(["dns"]));
  expect((await skep(fleet.api, ["health", "bee"])).stdout).toMatch(/boot +blocked at stage base: dns/);

  // It lives: it beats, and what it is asked for waits.
  const [asked] = await accepted(fleet.api, "/v1/deployments", deployment("later"));
  appendFileSync(flag("later"), "");
  const heard = (await health()).liveness.last_heartbeat_at;
  await eventually(async () => (await health()).liveness.last_heartbeat_at !== heard, { what: "another beat", timeoutMs: 60_000 });
  expect((await fleet.api.get(`/v1/lifecycle/${asked}`)).status).toBe("pending");

  // Told to leave while it blocks, it leaves. How soon is for the agent's own tests, whose clock no machine holds up.
  const pid = bee.program()!.pid;
  let left = false;
  void bee.kill("SIGTERM").then(() => (left = true));
  await eventually(() => left, { what: `the agent (pid ${pid}) has left`, timeoutMs: 60_000 });
  expect(await firstStart).toBeInstanceOf(Error);

  const tries = started().length;
  const ready = bee.start(reboot);
  await eventually(() => started().length > tries, { what: "the foundation is started anew (1-2)", timeoutMs: 60_000 });
  writeFileSync(flag("dns"), "");
  await ready;

  // db and cache share a stage; nothing else may change places, and idle, which no stage names, is not started by a boot.
  // Ready says that the boot asked for all of it; web, whose health nobody asks for, may still be on its way to its first line.
  const seen = await eventually((status) => {
    const names = started().filter((name) => name !== "dns" && name !== "later" && name !== "idle");
    status(names.join(", "));
    return names.includes("web") && names.length >= 5 && names;
  }, { what: "web has written its name", timeoutMs: 60_000 });
  const sequence = seen.toSorted((a, b) => begunAt(a) - begunAt(b));
  expect([sequence[0], sequence.slice(1, 3).toSorted(), ...sequence.slice(3, 5)]).toEqual(["ca", ["cache", "db"], "search", "web"]);
  expect(seen).toHaveLength(5);
  expect(started().lastIndexOf("dns")).toBeLessThan(started().indexOf("ca"));

  const [row] = await ended(fleet.api, [asked!], 60_000);
  expect(row).toMatchObject({ status: "succeeded" });
  const degraded = await eventually(async () => {
    const seen = await health();
    return seen.boot?.state === "degraded" && seen;
  }, { what: "the boot is over, without search", timeoutMs: 60_000 });
  expect(degraded.reasons).toContainEqual(expect.objectContaining({ code: "boot_degraded", message: expect.stringMatching(/search: /) }));
  expect(degraded.boot.members.filter((member: { healthy: boolean }) => !member.healthy).map((member: { name: string }) => member.name)).toEqual(["search"]);

  // Mended, the word goes; and the master has brought back what no stage named.
  writeFileSync(flag("search"), "");
  await eventually(async () => (await health()).boot?.state === "complete", { what: "search is healthy now", timeoutMs: 60_000 });
  expect(await bootNews()).toEqual(["boot.blocked", "boot.degraded", "boot.complete"]);
  await eventually(() => started().includes("idle"), { what: "the master's reconcile starts what the boot left alone", timeoutMs: 120_000 });
  for (const late of ["idle", "later"]) expect(begunAt(late)).toBeGreaterThanOrEqual(begunAt("web"));
}, 600_000);

test("a wrong stage is corrected while it blocks: a faulty file changes nothing, a good one lets the host come up", async () => {
  const { fleet } = site;
  const config = join(bee.identityDir, "agent.toml");
  await bee.kill("SIGKILL");
  killRunners(bee.stateDir);
  rmSync(flag("dns"));
  const ready = bee.start({ SKEP_HOST_BOOT_ID: "third" });
  const boot = async (): Promise<any> => (await fleet.api.get("/v1/hosts/bee")).boot;
  await eventually(async () => (await boot())?.state === "blocked", { what: "the foundation blocks", timeoutMs: 60_000 });
  writeFileSync(config, `${CONFIG}[allow]\nprivileged = "please"\n`);
  bee.program()!.kill("SIGHUP");
  await eventually(() => /the configuration was not taken/.test(bee.logs()) && bee.logs().includes("allow.privileged"), { what: "the refusal, with its key", timeoutMs: 60_000 });
  expect((await boot()).state).toBe("blocked");
  writeFileSync(config, CONFIG.replace('health = "tcp"', 'health = "tcp"\nfoundation = false'));
  bee.program()!.kill("SIGHUP");
  await ready;
  await eventually(async () => (await boot())?.state === "degraded", { what: "it came up without dns", timeoutMs: 60_000 });
  expect((await boot()).members[0]).toMatchObject({ name: "dns", healthy: false });
}, 400_000);
