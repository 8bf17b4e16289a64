import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { fingerprintOf, loadIdentity, readCsr, saveIdentity } from "@skep/pki";
import { heartbeatRequest, parseItems, delta as deltaSchema, registerRequest, reportedPlacement } from "@skep/protocol";
import { systemClock } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { cleanup, startAgent, startMaster } from "./kit/agent-kit.ts";
import { deploy, specOf, target } from "./kit/executor-kit.ts";
import { hostLeaf, identityOf, type FakeMaster } from "./kit/fake-master.ts";

afterEach(cleanup);
const statusOf = (master: FakeMaster): { placements: unknown[] | null } => master.beats().at(-1)!["status"] as { placements: unknown[] | null };

describe("beats", () => {
  test("registers first, then beats in the wire's form over one connection", async () => {
    const master = await startMaster();
    const { agent } = await startAgent(master);
    await agent.whenReady;
    await eventually(() => master.beats().length >= 6, { what: "six beats" });
    expect(master.seen[0]?.route).toBe("register");
    registerRequest.parse(master.seen[0]?.body);
    for (const beat of master.beats()) heartbeatRequest.parse(beat);
    expect(master.beats().map((beat) => beat["seq"])).toEqual(master.beats().map((_, index) => index + 1));
    expect(master.handshakes).toBe(1);
  });

  test("an outcome is pushed at once and repeated, with the same id, until it is acknowledged", async () => {
    const master = await startMaster();
    master.intervalMs = 300;
    master.on("heartbeat", () => undefined); // taken, and the reply lost
    const { agent } = await startAgent(master);
    await eventually(() => master.beats().length > 0, { what: "a first beat" });
    const command = deploy(target(), 1, specOf("web"));
    await agent.executor.admit(command);
    await eventually(() => master.deltas().filter((delta) => delta["status"] === "succeeded").length >= 3, { what: "the delta three times" });
    const ids = new Set(master.deltas().filter((delta) => delta["status"] === "succeeded").map((delta) => delta["delta_id"]));
    expect(ids.size).toBe(1);
    expect(parseItems(deltaSchema, master.deltas(), "lifecycle").rejected).toEqual([]);
    master.on("heartbeat", undefined);
    await eventually(() => agent.executor.deltas(1).length === 0, { what: "an empty outbox" });
    // A look that took too long on a busy machine is reported as one, without placements.
    const placements = await eventually(() => statusOf(master).placements ?? undefined, { what: "a beat that saw" });
    expect(parseItems(reportedPlacement, placements, "placements").rejected).toEqual([]);
  });

  test("a verdict of any kind frees the outbox; a beat that acknowledges nothing frees nothing (control)", async () => {
    const master = await startMaster();
    master.on("heartbeat", () => master.reply({ acked: [] }));
    const { agent } = await startAgent(master);
    await agent.whenReady;
    await agent.executor.admit(deploy(target(), 1, specOf("web")));
    await eventually(() => master.deltas().filter((delta) => delta["status"] === "succeeded").length >= 2, { what: "it twice" });
    expect(agent.executor.deltas(5)).toHaveLength(1);
    master.on("heartbeat", ({ body }) => master.reply({ acked: (body["lifecycle"] as { delta_id: string }[]).map((delta) => ({ delta_id: delta.delta_id, result: "late" })) }));
    await eventually(() => agent.executor.deltas(1).length === 0, { what: "an empty outbox" });
  });

  test("a stale session registers again; nothing of the old session is accepted", async () => {
    const master = await startMaster();
    const { agent } = await startAgent(master);
    await agent.whenReady;
    const at = target();
    master.sessionEpoch = 9;
    master.floors = [{ placement_id: at.placement_id, epoch: 1, generation: 5 }];
    await eventually(() => master.beats().at(-1)?.["session_epoch"] === 9, { what: "beats of the new session" });
    await expect(agent.executor.admit(deploy(at, 5, specOf("web"), { session_epoch: 1 }))).rejects.toMatchObject({ code: "session_stale" });
    await expect(agent.executor.admit(deploy(at, 4, specOf("web"), { session_epoch: 9 }))).rejects.toMatchObject({ code: "stale_generation" });
    expect((await agent.executor.admit(deploy(at, 5, specOf("web"), { session_epoch: 9 }))).duplicate).toBe(false);
  });

  test("floors that cannot be written open no session, yet the master hears that the host lives; with room again it registers", async () => {
    const master = await startMaster();
    const at = target();
    master.floors = [{ placement_id: at.placement_id, epoch: 1, generation: 5 }];
    const fault: { code: string | undefined } = { code: "ENOSPC" };
    const { agent } = await startAgent(master, { journalFault: () => fault.code });
    await eventually(() => master.beats().length >= 2, { what: "two beats of a host whose disk is full" });
    for (const beat of master.beats()) expect(heartbeatRequest.parse(beat).session_epoch).toBeUndefined();
    expect(agent.ready()).toBe(false);
    fault.code = undefined;
    await agent.whenReady;
    await expect(agent.executor.admit(deploy(at, 4, specOf("web"), { session_epoch: master.sessionEpoch }))).rejects.toMatchObject({ code: "stale_generation" });
  });

  test("offered jobs run; offered cancels seal; one unreadable item costs nothing else; final refusals are told", async () => {
    const master = await startMaster();
    const { agent, driver } = await startAgent(master);
    await agent.whenReady;
    const at = target();
    await agent.executor.applyFloors([{ placementId: at.placement_id, epoch: 1, generation: 3 }]);
    const good = deploy(target(), 1, specOf("web"));
    const stale = deploy(at, 1, specOf("web"));
    const doomed = deploy(target(), 1, specOf("web"));
    let offered = false;
    master.on("heartbeat", () => {
      if (offered) return { status: 204 };
      offered = true;
      return master.reply({ pending_jobs: [{ operation: "dance" }, good, stale], cancel_jobs: [{ job_id: doomed.job_id, reason: "absent", placement_id: doomed.placement_id, operation: "deploy", deployment: "web", generation: 1, epoch: 1 }] });
    });
    await eventually(() => master.deltas().some((delta) => delta["job_id"] === good.job_id && delta["status"] === "succeeded"), { what: "the good job's outcome" });
    await eventually(() => master.deltas().some((delta) => delta["job_id"] === stale.job_id && delta["error_code"] === "rejected:stale_generation"), { what: "the refusal" });
    await eventually(() => master.deltas().some((delta) => delta["job_id"] === doomed.job_id && delta["status"] === "cancelled"), { what: "the tombstone's delta" });
    expect((await agent.executor.admit(doomed)).job_status).toBe("cancelled");
    expect(driver.running()).toEqual(["web@1"]);
  });

  test("413 halves what is sent, 500 and garbage are lived through, a minimal master is served", async () => {
    const master = await startMaster();
    const replies = [{ status: 413 }, { status: 500, raw: "<html>" }, { status: 200, raw: "not json" }, { status: 200, body: {} }, { status: 302 }, { status: 202 }];
    master.on("heartbeat", () => replies.shift() ?? { status: 204 });
    const { agent, log } = await startAgent(master);
    await eventually(() => master.beats().length >= 9, { what: "nine beats" });
    expect(log.some((line) => line.msg.includes("too large"))).toBe(true);
    expect(agent.ready()).toBe(true);
  });

  test("a refused host is loud once, goes on, stretches its interval, and comes back with the next identity", async () => {
    const master = await startMaster();
    master.on("heartbeat", () => master.refusal(403, "cert_mismatch"));
    master.on("register", () => master.refusal(404, "host_unknown"));
    const { agent, dir, log } = await startAgent(master);
    await eventually(() => master.seen.length >= 3, { what: "three refused requests" });
    expect(log.filter((line) => line.level === "error")).toHaveLength(1);
    const leaf = hostLeaf(master.authority);
    await saveIdentity(join(dir, "identity"), identityOf(master.authority, leaf, [master.url]));
    master.on("register", undefined);
    master.on("heartbeat", undefined);
    await agent.reloadIdentity();
    await eventually(() => master.seen.some((one) => one.route === "heartbeat" && one.fingerprint === fingerprintOf(leaf.certPem)), { what: "a beat with the new certificate", timeoutMs: 60_000 });
  });

  test("an agent that was never enrolled waits, and starts once it is", async () => {
    const master = await startMaster();
    const { agent, dir } = await startAgent(master, { enrolled: false });
    expect(agent.ready()).toBe(false);
    await saveIdentity(join(dir, "identity"), identityOf(master.authority, hostLeaf(master.authority), [master.url]));
    await agent.reloadIdentity();
    await agent.whenReady;
    expect(agent.ready()).toBe(true);
  });

  test("a dead master is left for the next one in the list", async () => {
    const dead = await startMaster();
    const master = await startMaster({ authority: dead.authority });
    const { agent } = await startAgent(master, { urls: [dead.url, master.url] });
    await agent.whenReady;
    expect(dead.seen.length).toBeGreaterThan(0);
    dead.on("heartbeat", () => ({ status: 503 }));
    await eventually(() => master.beats().length > 0, { what: "a beat at the other master", timeoutMs: 60_000 });
  });

  test("a master of another authority, and a host that plays master, hear nothing", async () => {
    const real = await startMaster();
    const foreign = await startMaster();
    const worker = await startMaster({ authority: real.authority, leaf: hostLeaf(real.authority) });
    const { log } = await startAgent(real, { urls: [foreign.url, worker.url] });
    await eventually(() => log.filter((line) => line.msg.includes("could not be reached")).length >= 1, { what: "a failed try" });
    expect(foreign.seen).toEqual([]);
    expect(worker.seen).toEqual([]);
  });

  test("the last beat says that it is stopping", async () => {
    const master = await startMaster();
    const { agent } = await startAgent(master);
    await agent.whenReady;
    await agent.stop({ workloads: false });
    expect(master.beats().at(-1)?.["phase"]).toBe("stopping");
  });
});

describe("rotation", () => {
  test("a told agent makes a new key, stores it, and uses it for the very next beat", async () => {
    const master = await startMaster();
    const { agent, dir } = await startAgent(master);
    await agent.whenReady;
    let issued = "";
    master.on("rotate", ({ body }) => {
      readCsr(String(body["csr_pem"]));
      issued = hostLeaf(master.authority, { csrPem: String(body["csr_pem"]) }).certPem;
      return { status: 200, body: { cert_pem: issued, chain_pem: master.authority.certPem, not_after: "2026-12-31T00:00:00.000Z" } };
    });
    const before = readlinkSync(join(dir, "identity", "current"));
    master.on("heartbeat", () => (issued === "" ? master.reply({ rotate_cert: true }) : { status: 204 }));
    await eventually(() => master.beats().length > 0 && master.seen.some((one) => one.route === "heartbeat" && issued !== "" && one.fingerprint === fingerprintOf(issued)), { what: "a beat with the new certificate" });
    expect(readlinkSync(join(dir, "identity", "current"))).not.toBe(before);
    expect(fingerprintOf((await loadIdentity(join(dir, "identity")))!.certPem)).toBe(fingerprintOf(issued));
  });

  test("a lost answer is asked for again with the same key", async () => {
    const master = await startMaster();
    const csrs: string[] = [];
    const { agent } = await startAgent(master);
    await agent.whenReady;
    master.on("rotate", ({ body }) => {
      csrs.push(readCsr(String(body["csr_pem"])).spkiSha256);
      return csrs.length === 1 ? undefined : { status: 200, body: { cert_pem: hostLeaf(master.authority, { csrPem: String(body["csr_pem"]) }).certPem, chain_pem: "", not_after: "2026-12-31T00:00:00.000Z" } };
    });
    master.on("heartbeat", () => (csrs.length < 2 ? master.reply({ rotate_cert: true }) : { status: 204 }));
    await eventually(() => csrs.length === 2, { what: "the second try" });
    expect(csrs[0]).toBe(csrs[1]);
  });

  test("a credential that is only good for rotating rotates before anything else; one past two thirds does by itself", async () => {
    const master = await startMaster();
    let rotated = 0;
    master.on("rotate", ({ body }) => {
      rotated += 1;
      return { status: 200, body: { cert_pem: hostLeaf(master.authority, { csrPem: String(body["csr_pem"]) }).certPem, chain_pem: "", not_after: "2026-12-31T00:00:00.000Z" } };
    });
    const first = hostLeaf(master.authority);
    master.on("register", ({ fingerprint }) => (fingerprint === fingerprintOf(first.certPem) ? master.refusal(403, "rotation_required") : { status: 200, body: master.registration() }));
    const { agent } = await startAgent(master, { leaf: first });
    await agent.whenReady;
    expect(rotated).toBe(1);

    const old = hostLeaf(master.authority, { now: systemClock().now() - 21 * 86_400_000 });
    const second = await startAgent(master, { leaf: old });
    await second.agent.whenReady;
    expect(rotated).toBe(2);
    expect(master.seen.filter((one) => one.fingerprint === fingerprintOf(old.certPem)).map((one) => one.route)).toEqual(["rotate"]);
  });
});
