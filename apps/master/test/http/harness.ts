/** The operator API over a real ledger, real control and real identity; only the agents are stand-ins. */
import { CLOSED_BREAKER, PRODUCTION_POLICY, SkepError, addMs, createCallMetrics, instant, timingsFor, viewBreaker, type Clock, type HostId, type HostRecord, type Role, type Store, type TokenId, type Tracer } from "@skep/core";
import type { ExecCommand, ExecFrame } from "@skep/protocol";
import { createLogger, specHash, systemClock, systemRng } from "@skep/runtime";
import { tempAuthority } from "@skep/testkit";
import { Writable } from "node:stream";
import type { Control } from "../../src/control/control.ts";
import { createControl } from "../../src/control/index.ts";
import { createOperatorListener, newToken, type OperatorLimits, type OperatorListener } from "../../src/http/index.ts";
import { createIdentity } from "../../src/identity/create-identity.ts";
import { createMasterMetrics } from "../../src/metrics/create-metrics.ts";
import type { AgentClient } from "../../src/ports.ts";

export interface Call {
  readonly role?: Role | "none";
  readonly token?: string;
  readonly body?: unknown;
  readonly payload?: string;
  readonly headers?: Record<string, string>;
}
export interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly json: any;
  readonly text: string;
}

export interface Harness {
  readonly listener: OperatorListener;
  readonly store: Store;
  readonly control: Control;
  readonly agents: FakeAgents;
  readonly tokens: Readonly<Record<Role, string>>;
  readonly tokenIds: Readonly<Record<Role, TokenId>>;
  /** Everything that was logged, one JSON line each. */
  readonly logs: string[];
  call(method: string, url: string, call?: Call): Promise<Answer>;
  /** A host that has just beaten, and said what it can. */
  activeHost(name: string, capabilities?: readonly string[]): Promise<HostRecord>;
  makeToken(role: Role, ttlMs?: number): Promise<{ readonly token: string; readonly id: TokenId }>;
  close(): Promise<void>;
}

export interface FakeAgents extends AgentClient {
  /** What was asked to be run, and what comes of it. */
  readonly commands: { readonly host: string; readonly placementId: string; readonly component: string; readonly command: ExecCommand; readonly signal: AbortSignal }[];
  run: (command: ExecCommand, signal: AbortSignal) => AsyncIterable<ExecFrame>;
  readonly outputs: Map<string, Uint8Array>;
  /** Of an output: the offset before which everything was rotated away. */
  readonly kept: Map<string, number>;
  deaf: boolean;
  /** The host whose log reads do not come back until `release`, and then fail. */
  hang: string | undefined;
  hanging: number;
  release: () => void;
}

/** Agents that answer health and logs from memory; whatever else is asked of them is not reached. */
export function fakeAgents(): FakeAgents {
  const outputs = new Map<string, Uint8Array>();
  const waiting: (() => void)[] = [];
  const silent = { kind: "silent" as const, because: "a stand-in" };
  const agents: FakeAgents = {
    outputs,
    kept: new Map(),
    hang: undefined,
    hanging: 0,
    release: () => {
      agents.hang = undefined;
      for (const fail of waiting.splice(0)) fail();
    },
    commands: [],
    run: async function* () {
      yield { exit_code: 0, truncated_bytes: 0 };
    },
    runCommand: async (host, placementId, component, command, signal) => {
      agents.commands.push({ host: host.name, placementId, component, command, signal });
      if (agents.deaf) throw new SkepError("host_unreachable", `${host.name} does not answer`);
      return { frames: agents.run(command, signal) };
    },
    deaf: false,
    deliver: async () => ({ kind: "unreachable", detail: "a stand-in" }),
    dryRun: async (_host, command) => ({ status: "dry_run", plan: command.spec.components.map((component) => ({ component: component.name, action: "create" as const })), warnings: [] }),
    job: async () => silent,
    cancel: async () => silent,
    metrics: async (host) => {
      if (agents.deaf) throw new SkepError("host_unreachable", `${host.name} does not answer`);
      return "# TYPE worker_agent_startup_total counter\nworker_agent_startup_total 1\n";
    },
    health: async (host) => (agents.deaf ? { ok: false, ms: 1, error: `connect ECONNREFUSED ${host.name}` } : { ok: true, ms: 1, health: { status: "ok", phase: "ready", version: "0.1.0", boot_id: "b" } }),
    logs: async (host, placementId, component, offset, limit) => {
      if (agents.hang === host.name) {
        agents.hanging += 1;
        await new Promise<void>((resolve) => waiting.push(resolve));
        agents.hanging -= 1;
        throw new SkepError("host_unreachable", `${host.name} does not answer`);
      }
      if (agents.deaf) throw new SkepError("host_unreachable", `${host.name} does not answer`);
      const all = outputs.get(`${placementId}/${component}`);
      if (all === undefined) throw new SkepError("logs_not_found", component);
      const start = Math.max(agents.kept.get(`${placementId}/${component}`) ?? 0, offset < 0 ? Math.max(0, all.length + offset) : Math.min(offset, all.length));
      const data = all.subarray(start, start + limit);
      return { data, nextOffset: start + data.length };
    },
    circuit: () => viewBreaker(CLOSED_BREAKER, 0),
    openCircuits: () => [],
    calls: () => createCallMetrics(0).summary(0),
    close: async () => undefined,
  };
  return agents;
}

export interface HarnessOptions {
  readonly store: Store;
  readonly clock?: Clock;
  readonly limits?: Partial<OperatorLimits>;
  readonly readiness?: () => Promise<Record<string, string>>;
  readonly allowedHosts?: readonly string[];
  readonly tracer?: Tracer;
}

const ROOMY: Partial<OperatorLimits> = { requestsPerMinute: 1_000_000, hostCreationsPerMinute: 1_000_000, unauthenticatedPerMinute: 1_000_000 };

export async function startHarness(options: HarnessOptions): Promise<Harness> {
  const { store } = options;
  const clock = options.clock ?? systemClock();
  const rng = systemRng();
  const logs: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logs.push(...chunk.toString("utf8").split("\n").filter((line) => line !== ""));
      done();
    },
  });
  const logger = createLogger({ name: "test", level: "debug", destination: sink });
  const timings = timingsFor(30_000);
  const agents = fakeAgents();
  const control = await createControl({ store, agents, clock, rng, logger, tracer: options.tracer, policy: PRODUCTION_POLICY, timings, hash: specHash, failpoint: () => undefined });
  const { authority } = tempAuthority({ clock, rng });
  const identity = await createIdentity({
    store, authority, clock, rng, logger, masterNames: [], allowLoopbackAgents: true,
    urls: () => ({ enrolUrls: ["https://127.0.0.1:8442"], masterUrls: ["https://127.0.0.1:8443"] }),
  });
  const metrics = createMasterMetrics({ store, clock, logger, version: "0.1.0", nodeVersion: "v20.0.0", heartbeatIntervalMs: timings.heartbeatIntervalMs, caNotAfter: addMs(clock.now(), 1_000), maxHosts: 10, process: false });
  const listener = await createOperatorListener({
    store, control, identity, agents, metrics, clock, rng, logger, timings, tracer: options.tracer,
    version: "0.1.0", trustDomain: "test.skep", caSha256: authority.sha256, allowLoopbackAgents: true,
    readiness: options.readiness ?? (async () => ({ database: "ok" })),
    limits: { ...ROOMY, ...options.limits },
    allowedHosts: options.allowedHosts,
  });

  const makeToken = async (role: Role, ttlMs = 3_600_000): Promise<{ token: string; id: TokenId }> => {
    const made = newToken(clock.now(), rng);
    const now = await store.now();
    await store.transaction((tx) => tx.insertApiToken({ id: made.id, name: `test-${role}`, role, secretHash: made.secretHash, expiresAt: addMs(now, ttlMs) }));
    return { token: made.token, id: made.id };
  };
  const [viewer, operator, admin] = [await makeToken("viewer"), await makeToken("operator"), await makeToken("admin")];
  const tokens = { viewer: viewer.token, operator: operator.token, admin: admin.token };

  const call = async (method: string, url: string, { role = "admin", token, body, payload, headers = {} }: Call = {}): Promise<Answer> => {
    const bearer = token ?? (role === "none" ? undefined : tokens[role]);
    const response = await listener.app.inject({
      method: method as "GET",
      url,
      headers: {
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined && payload === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(payload !== undefined ? { payload } : body !== undefined ? { payload: JSON.stringify(body) } : {}),
    });
    const type = String(response.headers["content-type"] ?? "");
    return { status: response.statusCode, headers: response.headers, text: response.body, json: type.includes("json") && !type.includes("ndjson") ? JSON.parse(response.body) : undefined };
  };

  return {
    listener, store, control, agents, tokens, tokenIds: { viewer: viewer.id, operator: operator.id, admin: admin.id }, logs, call, makeToken,
    activeHost: async (name, capabilities) => {
      const made = await call("POST", "/v1/hosts", { body: { name, address: "127.0.0.1", agent_port: 8444 } });
      if (made.status !== 201) throw new Error(`host ${name}: ${made.text}`);
      const id = made.json.host.id as HostId;
      await store.transaction(async (tx) => {
        await tx.casHostStatus(id, "pending", "enrolled", "test");
        await tx.writeBeats([{ hostId: id, agentVersion: "0.1.0" }]);
        const host = await tx.findHost(id);
        if (host!.status !== "active") await tx.casHostStatus(id, host!.status, "active", "test");
        if (capabilities === undefined) return;
        const session = await tx.openSession(id, { bootId: "boot", hostBootId: "host-boot", agentVersion: "0.1.0", agentUrl: undefined });
        await tx.writeBeats([{
          hostId: id, agentVersion: "0.1.0",
          full: {
            bootId: "boot", sessionEpoch: session!.sessionEpoch, seq: 1, opSeq: 0, phase: "ready", jobIds: [], jobsTruncated: false, placements: [], observedError: undefined,
            resources: undefined, capabilities, cert: undefined, boot: undefined, snapshotHash: capabilities.join(),
          },
        }]);
      });
      return (await store.findHost(id))!;
    },
    close: () => listener.close(),
  };
}

export const START = instant(Date.UTC(2026, 0, 1));
