/** A whole agent that boots: what it says, refuses and keeps for later meanwhile, and when it lets restart policies go. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { BootStage } from "@skep/core";
import { agentHealth } from "@skep/protocol";
import { createLogger, specHash } from "@skep/runtime";
import { eventually, tempDir } from "@skep/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { openRebootMark } from "../src/boot/reboot-mark.ts";
import { createFileJournal } from "../src/journal/file-journal.ts";
import type { JournalRecord } from "../src/journal/records.ts";
import { cleanup, masterClient, startAgent, startMaster } from "./kit/agent-kit.ts";
import { deploy, newId, specOf, target, teardown, type Target } from "./kit/executor-kit.ts";
import { masterLeaf } from "./kit/fake-master.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

afterEach(cleanup);

const foundation: BootStage = { name: "foundation", members: ["dns"], timeoutMs: 60_000, health: { kind: "own" }, foundation: true };

/** The state of an agent that had deployed dns, ended one job nobody acknowledged, and taken another it never began. */
async function before(): Promise<{ dir: string; dns: Target; ended: string; queued: string }> {
  const dir = tempDir("agent");
  const dns = { ...target(), deployment: "dns" };
  const first = deploy(dns, 1, specOf("dns"));
  const second = deploy({ ...target(), deployment: "later" }, 1, specOf("later"));
  const at = "2026-01-01T00:00:00.000Z";
  const records: JournalRecord[] = [
    { kind: "accepted", opSeq: 1, bootId: "old", at, command: first },
    {
      kind: "ended", opSeq: 2, jobId: first.job_id, status: "succeeded", at, deltaId: newId(), steps: [],
      placement: { placementId: dns.placement_id, deployment: "dns", epoch: 1, generation: 1, spec: first.spec, specHash: first.spec_hash, desired: "running", hashes: { dns: specHash(first.spec) }, jobId: first.job_id },
    },
    { kind: "accepted", opSeq: 3, bootId: "old", at, command: second },
  ];
  const journal = createFileJournal({ path: join(dir, "journal"), logger: createLogger({ level: "silent", name: "test" }) });
  await journal.load();
  await journal.append(records, { sync: true });
  await journal.close();
  return { dir, dns, ended: first.job_id, queued: second.job_id };
}

describe("while a foundation is on its way", () => {
  test("it beats and answers from the first second, refuses commands with 503, keeps offered jobs for later, and knows what it knows (1-6, B2)", async () => {
    const { dir, dns, ended, queued } = await before();
    const driver = new ScriptedDriver();
    const gate = driver.gate("wait dns");
    const master = await startMaster();
    const offered = deploy(target(), 1, specOf("offered"));
    master.on("heartbeat", ({ body }) => (body["phase"] === "booting" || !master.deltas().some((delta) => delta["job_id"] === offered.job_id) ? master.reply({ pending_jobs: [offered] }) : { status: 204 }));
    const { agent } = await startAgent(master, { dir, driver, boot: [foundation] });
    await eventually(() => master.beats().length >= 2, { what: "beats" });
    expect(master.beats()[0]).toMatchObject({ phase: "booting", boot: { stage: "foundation", state: "starting", members: [{ name: "dns", healthy: false }], alerts: 0 } });
    // What the journal knows is reported truthfully: the placement, and both jobs.
    expect(master.beats()[0]).toMatchObject({ status: { placements: [{ placement_id: dns.placement_id, deployment: "dns" }] } });
    expect((master.beats()[0]!["jobs"] as { job_id: string; status: string }[]).map(({ job_id, status }) => [job_id, status])).toEqual([[ended, "succeeded"], [queued, "accepted"]]);
    expect(master.deltas().map((delta) => delta["job_id"])).toContain(ended);

    const url = master.seen.find((one) => one.route === "register")?.body["agent_url"] as string;
    const client = masterClient(masterLeaf(master.authority));
    const call = async (method: "GET" | "POST", path: string, body?: unknown): Promise<{ status: number; headers: Record<string, unknown>; json: Record<string, unknown> }> => {
      const response = await client.request({ origin: url, path, method, headers: body === undefined ? {} : { "content-type": "application/json" }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      const text = await response.body.text();
      return { status: response.statusCode, headers: response.headers, json: text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : { text } };
    };
    for (const [path, command] of [["/deploy", deploy(target(), 1, specOf("web"))], ["/deploy", deploy(target(), 1, specOf("web"), { dry_run: true })], ["/teardown", teardown(dns, 2)]] as const) {
      const { status, headers, json } = await call("POST", path, command);
      expect({ path, status, code: json["code"], retryAfter: headers["retry-after"] }).toEqual({ path, status: 503, code: "agent_booting", retryAfter: "5" });
    }
    const health = await call("GET", "/health");
    expect(agentHealth.parse(health.json)).toMatchObject({ phase: "booting", boot: { stage: "foundation", state: "starting" } });
    expect((await call("GET", `/jobs/${ended}`)).json).toMatchObject({ status: "succeeded" });
    expect((await call("GET", `/jobs/${newId()}`)).status).toBe(404);
    expect((await call("GET", `/logs/${dns.placement_id}/dns`)).json["text"]).toBe("log of dns\n");
    expect((await call("GET", "/status")).json).toMatchObject({ phase: "booting", placements: [{ deployment: "dns" }] });
    // A job that was taken before and not begun is held, and can be cancelled.
    expect(driver.running()).toEqual(["dns@1"]);
    expect((await call("POST", `/jobs/${queued}/cancel`, { reason: "operator" })).json).toMatchObject({ status: "cancelled" });

    gate.open();
    await eventually(() => master.deltas().some((delta) => delta["job_id"] === offered.job_id && delta["status"] === "succeeded"), { what: "the offered job, after the boot" });
    expect(driver.running()).toEqual(["dns@1", "offered@1"]);
    expect(agent.ready()).toBe(true);
    await eventually(() => (master.beats().at(-1)!["boot"] as { state?: string }).state === "complete", { what: "a beat that says so" });
    expect(master.beats().at(-1)).toMatchObject({ phase: "ready", boot: { stage: null, state: "complete", members: [{ name: "dns", healthy: true }] } });
  });

  test("control: what was taken before and not begun runs once the boot is over, not before", async () => {
    const { dir } = await before();
    const driver = new ScriptedDriver();
    const gate = driver.gate("wait dns");
    const { agent } = await startAgent(await startMaster(), { dir, driver, boot: [foundation] });
    await eventually(() => gate.reached(), { what: "the foundation waits" });
    expect(driver.running()).toEqual(["dns@1"]);
    gate.open();
    await eventually(() => driver.running().includes("later@1"), { what: "the held job" });
    expect(agent.bootResults()).toMatchObject([{ name: "foundation", outcome: "healthy" }]);
  });

  test("a stop does not wait for what hangs: neither the boot nor the look for a last beat holds it up (1-3)", async () => {
    const { dir } = await before();
    const driver = new ScriptedDriver();
    let hanging = false;
    driver.on("start dns", () => { hanging = true; return new Promise(() => {}); });
    const master = await startMaster();
    // Half of it is how long a beat's look may take, were it waited for.
    master.intervalMs = 300_000;
    const { agent } = await startAgent(master, { dir, driver, boot: [foundation] });
    await eventually(() => hanging && master.beats().length > 0, { what: "a hung start, and a session" });
    driver.on("observe", () => new Promise(() => {}));
    let stopped = false;
    void agent.stop({ workloads: false }).then(() => (stopped = true));
    // Far below the two minutes after which a hung look would give up by itself.
    await eventually(() => stopped, { what: "the agent has stopped", timeoutMs: 60_000 });
  });
});

describe("restart policies", () => {
  const releasing = (): { driver: ScriptedDriver; released: () => number } => {
    const driver = new ScriptedDriver();
    let released = 0;
    Object.assign(driver, { release: () => (released += 1) });
    return { driver, released: () => released };
  };

  test("after a reboot they wait for the boot and for the master; the mark is written then, and only then", async () => {
    const { dir } = await before();
    const { driver, released } = releasing();
    const gate = driver.gate("wait dns");
    const master = await startMaster();
    let deaf = true;
    master.on("register", () => (deaf ? { status: 503 } : { status: 200, body: master.registration() }));
    const mark = join(dir, "host-boot-id");
    const { agent } = await startAgent(master, { dir, driver, boot: [foundation], rebootMark: openRebootMark(mark, "second") });
    await eventually(() => gate.reached(), { what: "the foundation waits" });
    expect(released()).toBe(0);
    gate.open();
    await eventually(() => agent.executor.phase() === "ready" && master.seen.length >= 3, { what: "booted, and not heard" });
    expect([released(), existsSync(mark)]).toEqual([0, false]);
    deaf = false;
    await eventually(() => released() === 1, { what: "released after the registration" });
    await eventually(() => existsSync(mark) && readFileSync(mark, "utf8") === "second\n", { what: "the mark" });
    expect(openRebootMark(mark, "second").rebooted).toBe(false);
    expect(openRebootMark(mark, "third").rebooted).toBe(true);
  });

  test("without a reboot they are let go at once, whoever listens", async () => {
    const { driver, released } = releasing();
    const master = await startMaster();
    master.on("register", () => ({ status: 503 }));
    await startAgent(master, { driver, rebootMark: { rebooted: false, settle: () => {} } });
    await eventually(() => released() === 1, { what: "released" });
  });
});
