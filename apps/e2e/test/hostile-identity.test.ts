/**
 * Who may say what to whom, on the real listeners of real processes: every route of the master's agent channel, the
 * enrolment door, the operator API and the agent, from the protocol's table, against every standing a peer can have.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadIdentity, createCsr, generateKeyPem } from "@skep/pki";
import { AGENT_LOCAL_ROUTES, AGENT_ROUTES, OPERATOR_ROUTES, SWARM_ROUTES, type AgentRouteId, type Route, type SwarmRouteId } from "@skep/protocol";
import { systemClock } from "@skep/runtime";
import { eventually, startProgram, tempAuthority } from "@skep/testkit";
import type { Authority } from "@skep/pki";
import { beforeAll, describe, expect, test } from "vitest";
import { createApi } from "../src/harness/api.ts";
import { enrol, setMasters, type Agent, type BareHost } from "../src/harness/fleet.ts";
import { authorityOf, forgeHost, forgeMaster, startImpostor } from "../src/harness/forge.ts";
import { isForSilence } from "../src/harness/operations.ts";
import { ask, refusalOf, TLS_REFUSAL, type Credential, type PlainAnswer } from "../src/harness/plain-https.ts";
import { readStarts } from "../src/harness/starts.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

let agent: Agent;
let mole: BareHost;
let authority: Authority;
const site = useFleet("hostile-identity", { intervalMs: 500 }, async (fleet) => {
  agent = await fleet.addAgent("bee-1");
  mole = await fleet.addBareHost("mole");
  authority = await authorityOf(fleet);
});
const stranger = tempAuthority({ trustDomain: "skep.local" });
const NIL = "01990000-0000-7000-8000-000000000000";

/** What would be done if the peer were believed; the types make a new route fail to compile until it is here. */
const SWARM_BODIES: Record<SwarmRouteId, (hostId: string) => unknown> = {
  register: () => ({ boot_id: "b", host_boot_id: "h", agent_version: "0.1.0", op_seq: 0 }),
  heartbeat: (hostId) => ({ host_uuid: hostId, agent_version: "0.1.0", status: { deployed: false } }),
  rotate: () => ({ csr_pem: createCsr({ keyPem: generateKeyPem(), commonName: "x" }) }),
};
const job = (generation: number): object => ({ job_id: NIL, placement_id: NIL, deployment: "evil", epoch: 1, generation, timeout_s: 10 });
const AGENT_REQUESTS: Record<AgentRouteId, { path: string; body?: unknown }> = {
  agentDeploy: { path: "/deploy", body: { ...job(1), spec: noop(0), spec_hash: "0".repeat(64) } },
  agentMutate: { path: "/mutate", body: { ...job(1), base_generation: 0, spec: noop(0), spec_hash: "0".repeat(64) } },
  agentTeardown: { path: "/teardown", body: job(1) },
  agentGetJob: { path: `/jobs/${NIL}` },
  agentCancelJob: { path: `/jobs/${NIL}/cancel`, body: { reason: "operator" } },
  agentStatus: { path: "/status" },
  agentHealth: { path: "/health" },
  agentMetrics: { path: "/metrics" },
  agentLogs: { path: `/logs/${NIL}/web` },
  agentExec: { path: `/exec/${NIL}/web`, body: { command: ["/bin/true"] } },
};

describe.each(SWARM_ROUTES)("master $method $path", (route) => {
  const send = (credential: Credential | undefined, hostId: string): Promise<PlainAnswer> =>
    ask(`${site.fleet.master.ready().swarm_url}${route.path}`, SWARM_BODIES[route.id](hostId), { caPem: authority.certPem, credential });

  test("nobody without a certificate, and no stranger's", async () => {
    expect(await refusalOf(send(undefined, mole.hostId))).toMatch(TLS_REFUSAL);
    expect(await refusalOf(send(stranger.host("mole", { hostId: mole.hostId as never }), mole.hostId))).toMatch(TLS_REFUSAL);
    expect(await refusalOf(send(stranger.master(), mole.hostId))).toMatch(TLS_REFUSAL);
    expect(await refusalOf(send(forgeHost(authority, { hostId: mole.hostId, validityMs: -60_000 }), mole.hostId))).toMatch(/EXPIRED|ALERT|ECONNRESET/);
  });

  test("no certificate of ours that is not pinned, and no master's", async () => {
    expect(await send(forgeHost(authority, { hostId: mole.hostId }), mole.hostId)).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
    expect((await send(forgeHost(authority), NIL)).status).toBe(403);
    expect(await send(forgeMaster(authority), mole.hostId)).toMatchObject({ status: 403, json: { code: "wrong_role" } });
  });

  test("the pinned one: admitted, and as nobody else", async () => {
    if (route.id !== "rotate") expect((await send(mole.identity, mole.hostId)).status).toBeLessThan(300);
    if (route.id === "heartbeat") expect(await send(mole.identity, agent.hostId)).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  });
});

describe.each(AGENT_ROUTES)("agent $method $path", (route) => {
  const send = (credential: Credential | undefined): Promise<PlainAnswer> => {
    const { path, body } = AGENT_REQUESTS[route.id];
    return ask(`${agent.agentUrl()}${path}`, body ?? {}, { caPem: authority.certPem, credential, method: route.method });
  };
  /** What it took and what it sealed: the control's own job goes on being written down. */
  const taken = (): number => readFileSync(join(agent.stateDir, "journal"), "utf8").match(/"kind":"(accepted|tombstone)"/g)?.length ?? 0;

  test("only a master of our CA commands it", async () => {
    const before = taken();
    expect(await refusalOf(send(undefined))).toMatch(TLS_REFUSAL);
    expect(await refusalOf(send(stranger.master()))).toMatch(TLS_REFUSAL);
    expect(await refusalOf(send(forgeMaster(authority, -60_000)))).toMatch(/EXPIRED|ALERT|ECONNRESET/);
    const own = (await loadIdentity(agent.identityDir))!;
    for (const worker of [mole.identity, own, forgeHost(authority)]) {
      expect(await send(worker)).toMatchObject({ status: 403, json: { code: "wrong_role" } });
    }
    expect(taken()).toBe(before);
    // The control: the same request by a master is answered on its merits.
    expect((await send(forgeMaster(authority))).json?.code).not.toBe("wrong_role");
    expect(readStarts(agent.stateDir)).toEqual([]);
  });
});

test("a token that is revoked is refused at once", async () => {
  const { api } = site.fleet;
  const made = (await api.post("/v1/tokens", { name: "leaver", role: "viewer" })).body;
  const leaver = createApi(api.url, made.token);
  expect((await leaver.call("GET", "/v1/hosts")).status).toBe(200);
  await api.call("DELETE", `/v1/tokens/${made.id}`);
  expect((await leaver.call("GET", "/v1/hosts")).status).toBe(401);
});

test("the operator API: nothing without a token, nothing above one's role", async () => {
  const { api } = site.fleet;
  const viewer = createApi(api.url, (await api.post("/v1/tokens", { name: "looker", role: "viewer" })).body.token);
  const path = (route: Route): string => route.path.replace(/:(\w+)/g, (_all, name: string) => (name === "kind" ? "host" : name === "id" ? NIL : "nobody"));
  for (const route of OPERATOR_ROUTES as readonly Route[]) {
    const call = (by: string | undefined) => createApi(api.url, by ?? "").call(route.method, path(route), ["GET", "DELETE"].includes(route.method) ? undefined : {});
    const label = `${route.method} ${route.path}`;
    if (route.access.kind === "public") continue;
    // There are more routes than guesses a minute: from then on nobody is even told that it is wrong.
    const guess = await call("skp_nonsense");
    expect([[401, "unauthenticated"], [429, "rate_limited"]], label).toContainEqual([guess.status, guess.body?.code]);
    const asViewer = await viewer.call(route.method, path(route), ["GET", "DELETE"].includes(route.method) ? undefined : {});
    if (route.access.kind === "role" && route.access.role !== "viewer") expect([label, asViewer.status, asViewer.body?.code]).toEqual([label, 403, "forbidden"]);
    else expect([401, 403]).not.toContain(asViewer.status);
  }
});

test("the agent's plain listener says no more than that it lives", async () => {
  const { local_url } = JSON.parse(agent.program()!.stdout().trim().split("\n").at(-1)!) as { local_url: string };
  expect(new URL(local_url).hostname).toBe("127.0.0.1");
  for (const route of AGENT_LOCAL_ROUTES) await eventually(async () => (await fetch(`${local_url}${route.path}`)).status === 200, { what: `${route.path} is open, and the agent is ready`, timeoutMs: 60_000 });
  for (const route of AGENT_ROUTES.filter((one) => !AGENT_LOCAL_ROUTES.some((open) => open.path === one.path))) expect((await fetch(`${local_url}${AGENT_REQUESTS[route.id].path}`, { method: route.method })).status).toBe(404);
});

describe("somebody in the master's place", () => {
  beforeAll(async () => {
    await eventually(() => agent.running(), { what: "the agent runs" });
  });

  test("a worker's certificate hears nothing from an agent; a master's does", async () => {
    const real = site.fleet.master.ready().swarm_url;
    for (const [credential, isMaster] of [[mole.identity, false], [stranger.master(), false], [forgeMaster(authority), true]] as const) {
      const impostor = await startImpostor(credential, authority.certPem);
      const earlier = agent.logs().length;
      await setMasters(agent.identityDir, [impostor.url]);
      agent.program()!.kill("SIGHUP");
      if (isMaster) await eventually(() => impostor.heard.length > 0, { what: "the control: a master is spoken to", timeoutMs: 60_000 });
      else {
        await eventually(() => /wrong_role|SELF_SIGNED|UNABLE_TO|CERT/.test(agent.logs().slice(earlier)), { what: "the agent says whom it met", timeoutMs: 60_000 });
        expect(impostor.heard).toEqual([]);
      }
      await impostor.close();
    }
    await setMasters(agent.identityDir, [real]);
    agent.program()!.kill("SIGHUP");
    const sinceMs = systemClock().now();
    await eventually(async () => Date.parse((await site.fleet.api.get("/v1/hosts/bee-1")).last_heartbeat_at) > sinceMs, { what: "the agent is back at its master", timeoutMs: 60_000 });
  });

  test("the secret of a bundle is never said to anybody but the CA's master", async () => {
    const { bundle } = (await site.fleet.api.post("/v1/hosts", { name: "shy" })).body;
    for (const credential of [mole.identity, stranger.master()]) {
      const impostor = await startImpostor(credential, authority.certPem);
      await expect(enrol(join(site.fleet.dir, "shy"), join(site.fleet.dir, "shy-state"), { ...bundle, enrol_urls: [impostor.url] })).rejects.toThrow(/wrong_role|cert_mismatch|not certified|a master was expected/);
      expect(impostor.heard).toEqual([]);
      await impostor.close();
    }
    // A CA swapped in the file does not fit the pin in the file.
    await expect(enrol(join(site.fleet.dir, "shy"), join(site.fleet.dir, "shy-state"), { ...bundle, ca_cert_pem: stranger.authority.certPem })).rejects.toThrow(/not the one it pins/);
    // The control: the token is unused and still good.
    await enrol(join(site.fleet.dir, "shy"), join(site.fleet.dir, "shy-state"), bundle);
  });

  test("a host's place taken by another host gets no command; the host itself does", async () => {
    const { api, master } = site.fleet;
    const own = (await loadIdentity(agent.identityDir))!;
    for (const [credential, isIt] of [[own, false], [forgeHost(authority, { hostId: mole.hostId }), false], [mole.identity, true]] as const) {
      const impostor = await startImpostor(credential, authority.certPem);
      const registered = await ask(`${master.ready().swarm_url}/swarm/register`, { boot_id: crypto.randomUUID(), host_boot_id: "h", agent_version: "0.1.0", op_seq: 0, agent_url: impostor.url }, { caPem: authority.certPem, credential: mole.identity });
      expect(registered.status).toBe(200);
      const alive = (): Promise<PlainAnswer> => ask(`${master.ready().swarm_url}/swarm/heartbeat`, SWARM_BODIES.heartbeat(mole.hostId), { caPem: authority.certPem, credential: mole.identity });
      const name = `bait-${crypto.randomUUID().slice(0, 8)}`;
      // It beats before each try: by the time the master decides, the beat of a test that was held up is an old one.
      const { status, body } = await eventually(async () => {
        expect((await alive()).status).toBe(204);
        const answer = await api.post("/v1/deployments", { name, spec: noop(0), placement: { hosts: ["mole"] }, reconcile: "report" });
        return isForSilence(answer) ? undefined : answer;
      }, { what: "the mole is heard and gets the bait", timeoutMs: 60_000 });
      expect(status).toBe(202);
      // The first call to a stranger opens the circuit, and so do five to a host that answers 503. It may have been the prober's: then the row says that nothing was pushed.
      const row = await eventually(async (say) => {
        const seen = await api.get(`/v1/lifecycle/${body.lifecycle_ids[0]}`);
        say(`${seen.status}, ${seen.dispatch_attempts} attempts: ${seen.because}`);
        return seen.dispatch_attempts >= 1 && /not delivered|not pushed: the circuit is open/.test(seen.because) ? seen : undefined;
      }, { what: "the master has tried", timeoutMs: 60_000 });
      expect(row).toMatchObject({ status: "pending", completed_at: null });
      if (isIt) await eventually(() => impostor.heard.some((item) => item.path === "/deploy"), { what: "the host itself is told", timeoutMs: 60_000 });
      else expect(impostor.heard).toEqual([]);
      await impostor.close();
    }
  });
});

test("one token, two hands at once: one gets in, the other is refused, and somebody is told", async () => {
  const { api, dir } = site.fleet;
  const { host, bundle } = (await api.post("/v1/hosts", { name: "coveted" })).body;
  const text = Buffer.from(JSON.stringify(bundle)).toString("base64url");
  const bin = join(import.meta.dirname, "../../agent/bin/skep-agent.js");
  const hands = ["left", "right"].map((hand) => startProgram([bin, "enrol", text], { env: { SKEP_AGENT_DIR: join(dir, hand), SKEP_STATE_DIR: join(dir, `${hand}-state`) } }));
  const codes = (await Promise.all(hands.map((program) => program.exited))).map((exit) => exit.code);
  expect(codes).toHaveLength(2);
  expect(codes).toEqual(expect.arrayContaining([0, 1]));
  expect(hands.map((program) => program.stderr()).join("")).toMatch(/used or expired/);
  expect((await api.get(`/v1/hosts/coveted/certs`)).items.filter((cert: any) => cert.status === "active")).toHaveLength(1);
  await eventually(async () => (await api.get(`/v1/events?host=${host.id}`)).items.some((event: any) => event.kind === "host.token_replay"), { what: "the alarm is in the events", timeoutMs: 30_000 });
  // And nobody's secret is in anybody's words.
  expect(hands.map((program) => program.stdout() + program.stderr()).join("")).not.toContain(bundle.token);
});
