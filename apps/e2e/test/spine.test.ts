/**
 * The main job from end to end: enrol in three ways, deploy, look, mutate, rehearse, read logs, tear down,
 * decommission; and the heartbeat of the seed, byte for byte, by a client that knows nothing of us.
 */
import { readFileSync, statSync } from "node:fs";
import type { Agent as Connection } from "node:https";
import { join } from "node:path";
import { runSql } from "@skep/store/server";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { request } from "undici";
import { ledgerChecksum } from "../src/harness/ledger-checksum.ts";
import { ended, isForSilence, rolloutIs, sent, succeeds } from "../src/harness/operations.ts";
import { ask, oneConnection } from "../src/harness/plain-https.ts";
import { readStarts, startedTwice } from "../src/harness/starts.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { webServer } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

let pasted: Agent;
let fromFile: Agent;
let withKey: Agent;
const site = useFleet("spine", { intervalMs: 500 }, async (fleet) => {
  pasted = await fleet.addAgent("bee-1");
  fromFile = await fleet.addAgent("bee-2", { bundle: "file" });
  withKey = await fleet.addAgent("bee-3", { bundle: "with_key" });
});

const hosts = ["bee-1", "bee-2"];

/** Everything an operation could have changed. That a beat was late, and what a host and its deployments are called therefore, is no such thing. */
async function ledger(): Promise<{ readonly [table: string]: unknown }> {
  const { databaseUrl } = site.fleet;
  const { hosts: _hosts, events: _events, deployments: _deployments, ...rest } = await ledgerChecksum(databaseUrl);
  const shown = await runSql(databaseUrl, "SELECT to_jsonb(h) - '{status, status_because, last_probe_at, last_probe_ok, last_probe_error, version}'::text[] FROM hosts h ORDER BY id");
  const deployments = await runSql(databaseUrl, "SELECT to_jsonb(d) - '{status, last_error, version, updated_at}'::text[] FROM deployments d ORDER BY id");
  const events = await runSql(databaseUrl, "SELECT count(*) FROM events WHERE kind NOT IN ('host.active', 'host.suspect', 'host.unreachable', 'host.flapping', 'host.settled', 'deployment.active', 'deployment.degraded') AND kind NOT LIKE 'host.network_%' AND kind NOT LIKE 'breaker.%'");
  return { ...rest, hosts: shown, deployments, events };
}

/** What answers on each host, as "<greeting> <pid>". */
async function answers(name: string): Promise<string[]> {
  const { items } = await site.fleet.api.get(`/v1/placements?deployment=${name}`);
  return Promise.all(items.map(async (placement: any) => {
    const reply = await request(`http://127.0.0.1:${placement.observed.components[0].ports.http}/`);
    return reply.body.text();
  }));
}
const pidOf = (answer: string): number => Number(answer.split(" ").at(-1));
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const running = (name: string, generation: number): Promise<unknown> => eventually(async (status) => {
  const { items } = await site.fleet.api.get(`/v1/placements?deployment=${name}`);
  status(JSON.stringify(items.map((item: any) => [item.host, item.state, item.observed?.state, item.observed?.generation])));
  return items.length > 0 && items.every((item: any) => item.observed?.state === "running" && item.observed.generation === generation);
}, { what: `${name} runs generation ${generation} everywhere`, timeoutMs: 60_000 });

test("three ways in, and each host is active and healthy", async () => {
  for (const agent of [pasted, fromFile, withKey]) {
    const health = await eventually(async (status) => {
      const seen = await site.fleet.api.get(`/v1/hosts/${agent.hostId}/health`);
      status(JSON.stringify(seen.reasons));
      return seen.health === "healthy" ? seen : undefined;
    }, { what: `${agent.name} is healthy`, timeoutMs: 60_000 });
    expect(health).toMatchObject({ status: "active", liveness: { phase: "ready" }, breaker: { state: "closed" }, metrics: { failed_requests: 0 } });
  }
  // The key that travelled in the bundle is not the key in use.
  await eventually(async (status) => {
    const { items } = await site.fleet.api.get("/v1/hosts/bee-3/certs");
    status(JSON.stringify(items));
    return items.length > 1 && items.filter((cert: any) => cert.status === "active").length === 1;
  }, { what: "the key of the bundle has given way to the host's own", timeoutMs: 60_000 });
  expect(statSync(join(fromFile.dir, "bee-2.skep")).mode & 0o777).toBe(0o600);
});

test("deploy, mutate, rehearse, read logs, tear down", async () => {
  const { api } = site.fleet;
  await succeeds(api, "/v1/deployments", { name: "hive", spec: webServer("hello"), placement: { hosts }, reconcile: "report" });
  await running("hive", 1);
  const first = await answers("hive");
  expect(first.map((answer) => answer.split(" ")[0])).toEqual(["hello", "hello"]);
  await eventually(async () => (await api.get("/v1/deployments/hive")).status === "active", { what: "hive is active", timeoutMs: 60_000 });
  await eventually(async (status) => {
    const { placements } = await api.get("/v1/hosts/bee-1/health");
    status(JSON.stringify(placements));
    return placements.running === 1 && placements.failed === 0;
  }, { what: "the host's health counts it", timeoutMs: 60_000 });

  const logs = await eventually(async () => {
    const seen = await api.get("/v1/deployments/hive/logs");
    return seen.items.length >= 2 ? seen : undefined;
  }, { what: "both hosts' logs", timeoutMs: 60_000 });
  expect(logs.items.map((line: any) => [line.host, line.text.trim()]).sort()).toEqual([["bee-1", "hello is up"], ["bee-2", "hello is up"]]);

  // A rehearsal leaves no trace: not a row, not an event, not a byte in a journal.
  const journal = (): string => readFileSync(join(pasted.stateDir, "journal"), "utf8");
  await eventually(() => journal().includes('"acked"'), { what: "the agent has put down that its delta was taken", timeoutMs: 60_000 });
  const before = { ledger: await ledger(), journal: journal() };
  const rehearsals = [
    await api.post("/v1/deployments/hive/mutate", { env: { GREETING: "bye" }, dry_run: true }, { "idempotency-key": "rehearsal" }),
    await api.post("/v1/deployments", { name: "hive", spec: webServer("bye"), placement: { hosts }, replace: true, dry_run: true }),
    await api.post("/v1/deployments", { name: "other", spec: webServer("bye"), placement: { replicas: 2 }, dry_run: true }),
  ];
  expect(rehearsals.map((answer) => [answer.status, answer.body.status])).toEqual(Array(3).fill([200, "dry_run"]));
  expect(rehearsals[0]!.body.hosts.flatMap((host: any) => host.plan)).toEqual(Array(2).fill({ component: "web", action: "recreate" }));
  expect(rehearsals[2]!.body.hosts.flatMap((host: any) => host.plan)).toEqual(Array(2).fill({ component: "web", action: "create" }));
  expect({ ledger: await ledger(), journal: journal() }).toEqual(before);
  expect(await answers("hive")).toEqual(first);

  await succeeds(api, "/v1/deployments/hive/mutate", { env: { GREETING: "bye" } });
  // The control of the rehearsal: the real thing changes the ledger and the journal.
  const after = await ledger();
  for (const table of ["lifecycle", "deployments", "events"]) expect(after[table], table).not.toEqual(before.ledger[table]);
  expect(journal()).not.toBe(before.journal);
  await running("hive", 2);
  const second = await answers("hive");
  expect(second.map((answer) => answer.split(" ")[0])).toEqual(["bye", "bye"]);
  expect(first.map(pidOf).some(isAlive)).toBe(false);
  const starts = [pasted, fromFile].flatMap((agent) => readStarts(agent.stateDir));
  expect(startedTwice(starts)).toEqual([]);
  expect(starts).toHaveLength(4);

  await succeeds(api, "/v1/deployments/hive/teardown", {});
  expect(second.map(pidOf).filter(isAlive)).toEqual([]);
  expect((await api.get("/v1/deployments?include_deleted=true")).items[0]).toMatchObject({ name: "hive", status: "torn_down" });
  await eventually(async () => (await api.get("/v1/hosts/bee-1/health")).placements.running === 0, { what: "the host reports nothing running", timeoutMs: 60_000 });
});

test("an operation that cannot be done fails, says why, and leaves what ran before", async () => {
  const { api } = site.fleet;
  await succeeds(api, "/v1/deployments", { name: "steady", spec: webServer("one"), placement: { hosts: ["bee-1"] }, reconcile: "report" });
  const [before] = await answersOnceUp("steady", 1);
  const broken = { ...webServer("two"), components: [{ ...webServer("two").components[0]!, command: ["/nonexistent/program"] }] };
  const asked = await sent(api, "/v1/deployments", { name: "steady", spec: broken, placement: { hosts: ["bee-1"] }, replace: true, reconcile: "report" });
  const [row] = await ended(api, asked.lifecycle_ids);
  expect(row).toMatchObject({ status: "failed" });
  expect(row!.error).toContain("/nonexistent/program");
  // I5: nothing of the failed generation runs; what was there before does.
  const after = await eventually(async () => (await answers("steady"))[0], { what: "the old generation answers", timeoutMs: 60_000 });
  expect(after.split(" ")[0]).toBe(before!.split(" ")[0]);
  const explained = await api.get(`/v1/explain/lifecycle/${row!.id}`);
  expect(explained.reasons.length).toBeGreaterThan(0);
  await rolloutIs(() => api, asked.rollout_id!, ["rolled_back"]);
  await succeeds(api, "/v1/deployments/steady/teardown", {});
});

async function answersOnceUp(name: string, generation: number): Promise<string[]> {
  await running(name, generation);
  return answers(name);
}

test("seed 4's heartbeat, by a plain HTTPS client with an enrolled certificate", async () => {
  const { fleet } = site;
  const { hostId, identity } = await fleet.addBareHost("seed-1");
  const beat = (more: object = {}, agent?: Connection) => ask(`${fleet.master.ready().swarm_url}/swarm/heartbeat`, { host_uuid: hostId, agent_version: "0.1.0", status: { deployed: false }, ...more }, { caPem: identity.caPem, credential: identity, ...(agent === undefined ? {} : { agent }) });
  // Its deltas have no ids: they go to the one open row of that name and operation. Nobody beats between two lines of a test,
  // so it may have been heard too long ago for new work when the request arrives.
  const { body: { lifecycle_ids: ids } } = await eventually(async (status) => {
    expect(await beat()).toMatchObject({ status: 204, text: "" });
    const answer = await fleet.api.post("/v1/deployments", { name: "decoy", spec: webServer("x"), placement: { hosts: ["seed-1"] }, reconcile: "report" });
    status(`${answer.status} ${JSON.stringify(answer.body)}`);
    return isForSilence(answer) ? undefined : answer;
  }, { what: "the seed's host is active and gets its work", timeoutMs: 60_000 });
  expect(ids).toHaveLength(1);
  const delta = { decky_name: "decoy", operation: "deploy", status: "succeeded", completed_at: "2026-01-01T00:00:00Z" };
  expect(await beat({ topology: { version_hash: "abc", applied: true }, lifecycle: [{ ...delta, operation: "mutate" }, { ...delta, decky_name: "nobody" }] })).toMatchObject({ status: 204, text: "" });
  // The control: what named no open row changed none.
  expect((await fleet.api.get(`/v1/lifecycle/${ids[0]}`)).completed_at).toBeNull();
  expect(await beat({ topology: { version_hash: "abc", applied: true }, lifecycle: [delta] })).toMatchObject({ status: 204, text: "" });
  expect(await fleet.api.get(`/v1/lifecycle/${ids[0]}`)).toMatchObject({ status: "succeeded" });

  // Decommissioned: refused on the next request, though the connection is open.
  expect(await fleet.api.call("DELETE", "/v1/hosts/seed-1")).toMatchObject({ status: 409, body: { code: "host_not_empty" } });
  const connection = oneConnection();
  expect((await beat({}, connection)).status).toBe(204);
  expect((await fleet.api.call("DELETE", "/v1/hosts/seed-1?force=true")).status).toBeLessThan(300);
  // The master may have closed the connection by now; a new one is refused as well.
  expect(await beat({}, connection).catch(() => beat())).toMatchObject({ status: 403, json: { code: "host_decommissioned" } });
  connection.destroy();
});

test("a real agent that is decommissioned is heard no more, and a replacement of the same name comes in", async () => {
  const { fleet } = site;
  expect((await fleet.api.call("DELETE", "/v1/hosts/bee-3")).status).toBeLessThan(300);
  await eventually(() => withKey.logs().includes("host_decommissioned"), { what: "the agent says that it is refused", timeoutMs: 60_000 });
  expect(withKey.running()).toBe(true);
  await withKey.kill();
  const again = await fleet.api.post("/v1/hosts", { name: "bee-3", address: "127.0.0.1" });
  expect(again).toMatchObject({ status: 201, body: { host: { status: "pending" } } });
  expect(again.body.host.id).not.toBe(withKey.hostId);
});
