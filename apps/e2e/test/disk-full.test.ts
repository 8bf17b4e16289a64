/**
 * The agent's disk fills up: nothing starts that could not be written down, the host goes on speaking, and with room
 * again the work goes on by itself. Needs a small file system of its own, which only root can make.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { specHash } from "@skep/runtime";
import { eventually, tempDir } from "@skep/testkit";
import { afterAll, expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { authorityOf, forgeMaster } from "../src/harness/forge.ts";
import { accepted, ended, succeeds } from "../src/harness/operations.ts";
import { ask } from "../src/harness/plain-https.ts";
import { readStarts } from "../src/harness/starts.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

const disk = tempDir("small-disk");
const mounted = mount();
let agent: Agent;
const site = useFleet("disk-full", { intervalMs: 500 }, async (fleet) => {
  if (mounted) agent = await fleet.addAgent("bee-1", { stateDir: join(disk, "state") });
});
afterAll(async () => {
  if (!mounted) return;
  await agent?.kill();
  execFileSync("umount", ["--lazy", disk]);
});

function mount(): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", disk], { stdio: "pipe" });
    return true;
  } catch (error) {
    console.warn(`\n*** NO SMALL DISK: the test of a full disk is SKIPPED (${error instanceof Error ? error.message.split("\n")[0] : String(error)}) ***\n`);
    return false;
  }
}

function fill(): void {
  mkdirSync(join(disk, "filler"), { recursive: true });
  for (const bytes of [65_536, 4_096, 1]) {
    try {
      for (;;) appendFileSync(join(disk, "filler", "rubbish"), Buffer.alloc(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
}

/** More than the rest of the page that the journal's end is in: a small record would still find room there. */
const bulky = { driver: "noop" as const, components: [{ name: "one", command: [], env: { A: "x".repeat(4_000), B: "x".repeat(4_000) }, ports: [], restart: { policy: "always" as const }, depends_on: [], stop_timeout_s: 1 }] };

test.skipIf(!mounted)("a full disk starts nothing, silences nobody, and heals", async () => {
  const { api } = site.fleet;
  await succeeds(api, "/v1/deployments", { name: "before", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "report" });
  fill();
  const started = readStarts(agent.stateDir).length;
  const authority = await authorityOf(site.fleet);
  const command = { job_id: crypto.randomUUID(), placement_id: crypto.randomUUID(), deployment: "direct", epoch: 1, generation: 1, timeout_s: 60, spec: bulky, spec_hash: specHash(bulky) };
  expect(await ask(`${agent.agentUrl()}/deploy`, command, { caPem: authority.certPem, credential: forgeMaster(authority) })).toMatchObject({ status: 507, json: { code: "disk_full" } });

  const ids = await accepted(api, "/v1/deployments", { name: "during", spec: bulky, placement: { hosts: ["bee-1"] }, reconcile: "report" });
  const row = await eventually(async (status) => {
    const seen = await api.get(`/v1/lifecycle/${ids[0]}`);
    status(seen.because);
    return seen.dispatch_attempts >= 2 && /disk_full/.test(seen.because) ? seen : undefined;
  }, { what: "the row says what it waits for", timeoutMs: 60_000 });
  expect(row).toMatchObject({ status: "pending", completed_at: null });
  const heard = Date.parse((await api.get("/v1/hosts/bee-1")).last_heartbeat_at);
  await eventually(async (status) => {
    const host = await api.get("/v1/hosts/bee-1");
    status(`${host.status}, heard at ${host.last_heartbeat_at}`);
    return host.status === "active" && Date.parse(host.last_heartbeat_at) > heard + 1_500;
  }, { what: "heartbeats go on", timeoutMs: 60_000 });
  expect(readStarts(agent.stateDir)).toHaveLength(started);

  rmSync(join(disk, "filler"), { recursive: true });
  expect(await ended(api, ids, 60_000)).toMatchObject([{ status: "succeeded" }]);
  expect(readStarts(agent.stateDir)).toHaveLength(started + 1);
  expect(agent.running()).toBe(true);
});
