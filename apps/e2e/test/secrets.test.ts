/**
 * Secrets where they do not belong: canaries go through a whole life of a fleet, and then everything that was written
 * down (logs, database, command lines, answers) is searched for them.
 */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { loadIdentity } from "@skep/pki";
import { runSql } from "@skep/store/server";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { rolloutIs, sent, succeeds } from "../src/harness/operations.ts";
import { webServer } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

let agent: Agent;
const site = useFleet("secrets", { intervalMs: 500, masterEnv: { SKEP_LOG_LEVEL: "debug" } }, async (fleet) => {
  agent = await fleet.addAgent("bee-1", { bundle: "file" });
});

const ENV_CANARY = "canary-of-the-environment-7f3a91";

test("no secret is in a log, a row, a command line or an answer that need not hold it", async () => {
  const { fleet } = site;
  const { api } = fleet;
  const token = (await api.post("/v1/tokens", { name: "spare", role: "operator" })).body.token as string;
  const unused = (await api.post("/v1/hosts", { name: "unused" })).body.bundle;
  const withKey = (await api.post("/v1/hosts", { name: "keyed", mode: "with_key" })).body.bundle;
  const used = JSON.parse(readFileSync(join(agent.dir, "bee-1.skep"), "utf8"));
  const spec = webServer("x");
  const component = { ...spec.components[0]!, env: { GREETING: "x", SECRET: ENV_CANARY } };
  await succeeds(api, "/v1/deployments", { name: "keeper", spec: { ...spec, components: [component] }, placement: { hosts: ["bee-1"] }, reconcile: "report" });
  // Things that go wrong are when secrets slip out. The way back is part of it: until it ends, a teardown is refused.
  const broken = await sent(api, "/v1/deployments", { name: "keeper", spec: { ...spec, components: [{ ...component, command: ["/nonexistent"] }] }, placement: { hosts: ["bee-1"] }, replace: true, reconcile: "report" });
  await rolloutIs(() => api, broken.rollout_id!, ["rolled_back"]);
  const answers = [
    await api.post("/v1/deployments", { name: "keeper", spec: { ...spec, components: [{ ...component, env: { SECRET: ENV_CANARY, "bad name": ENV_CANARY } }] }, placement: { hosts: ["bee-1"] } }),
    await api.post(`/v1/hosts?token=${token}`, { name: "keeper", token, address: ENV_CANARY }),
    await api.call("GET", `/v1/deployments/${ENV_CANARY}`, undefined, { authorization: `Bearer ${token}x` }),
  ];
  expect(answers.map((answer) => answer.status >= 400)).toEqual([true, true, true]);
  await api.post("/v1/hosts/bee-1/rotate", {});
  await eventually(async () => (await api.get("/v1/hosts/bee-1/certs")).items.length > 1, { what: "the host rotated", timeoutMs: 60_000 });
  const lines = processLines();
  await agent.kill();
  await agent.start();
  await succeeds(api, "/v1/deployments/keeper/teardown", {});

  const identity = (await loadIdentity(agent.identityDir))!;
  const keyLine = (pem: string): string => pem.split("\n").filter((line) => line !== "" && !line.startsWith("-----"))[1]!;
  const secrets: Record<string, string> = {
    "the admin token": api.token, "an operator token": token, "its secret half": token.split("_").at(-1)!,
    "a used bundle's token": used.token, "an unused bundle's token": unused.token, "a key in a bundle": keyLine(withKey.key_pem),
    "the agent's key": keyLine(identity.keyPem), "the CA's key": keyLine(readFileSync(join(fleet.dir, "master", "ca", "authority.pem"), "utf8")),
    "the database's password": new URL(fleet.databaseUrl).password, "the environment's canary": ENV_CANARY,
  };
  const logs = { master: fleet.master.logs(), agent: agent.logs() };
  const database = await everyRow(fleet.databaseUrl);
  const found: string[] = [];
  for (const [what, secret] of Object.entries(secrets)) {
    expect(secret.length, what).toBeGreaterThan(15);
    for (const [where, text] of Object.entries({ ...logs, "a command line": [...lines, ...processLines()].join("\n"), "a refusal": JSON.stringify(answers.map((answer) => answer.body)) })) {
      if (text.includes(secret)) found.push(`${what} is in ${where}`);
    }
    for (const [table, text] of Object.entries(database)) {
      // What is to run has to be kept somewhere; nowhere else, and no secret of ours anywhere.
      if (text.includes(secret) && !(secret === ENV_CANARY && table === "deployment_generations")) found.push(`${what} is in the table ${table}`);
    }
  }
  expect(found).toEqual([]);
  // The controls: the search would have found what is there.
  expect(database["deployment_generations"]).toContain(ENV_CANARY);
  expect(lines.join("\n")).toContain("skep-master.js");
  expect(logs.master.length).toBeGreaterThan(1_000);
});

test("files that hold secrets are their owner's alone", async () => {
  const { fleet } = site;
  const holds = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)).filter((path) => {
    if (!statSync(path).isFile()) return false;
    const text = readFileSync(path, "utf8");
    return text.includes("PRIVATE KEY") || text.includes(fleet.api.token);
  });
  const files = [...holds(join(fleet.dir, "master")), ...holds(agent.identityDir)];
  expect(files.length).toBeGreaterThanOrEqual(3);
  expect(files.filter((path) => (statSync(path).mode & 0o077) !== 0)).toEqual([]);
});

/** Command lines of everything that runs on this machine. */
function processLines(): string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    } catch {
      return "";
    }
  });
}

async function everyRow(url: string): Promise<Record<string, string>> {
  const tables = (await runSql(url, "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")) as { name: string }[];
  const texts: Record<string, string> = {};
  for (const { name } of tables) texts[name] = JSON.stringify(await runSql(url, `SELECT t::text FROM "${name}" t`));
  return texts;
}
