/** The breaker around real calls: what counts, what a refused call says, and what puts it right. */
import { describe, expect, test } from "vitest";
import { BREAKER_COOLDOWN_MS, type CircuitState } from "@skep/core";
import { ManualClock, eventually } from "@skep/testkit";
import { createCircuits, type CallObserver } from "../../src/agents/circuits.ts";
import { JOB, accepted, job, me, problem, reply, stranger, useAgents, type Act } from "./agent-kit.ts";

const agents = useAgents();
const ALIVE = { status: "ok", phase: "ready", version: "1", boot_id: "b" };
const cut: Act = (request) => request.socket.destroy();

const deliver = async (client: ReturnType<typeof agents.newClient>, host: Parameters<typeof client.deliver>[0]): Promise<string> => (await client.deliver(host, job)).kind;

test("five calls that failed, and the sixth is not made; every way of calling says so, with the time to wait", async () => {
  const clock = new ManualClock();
  const edges: [CircuitState, boolean][] = [];
  const client = agents.newClient({ clock, observer: { onTransition: ({ to, told }) => edges.push([to, told]) } });
  let act = cut;
  const host = await agents.agent((request, response) => act(request, response));
  for (let nth = 1; nth <= 5; nth += 1) expect(await deliver(client, host)).toBe("unreachable");
  const made = agents.connections();
  clock.advance(1_000);
  expect(await client.deliver(host, job)).toMatchObject({ kind: "circuit_open", retryAfterMs: BREAKER_COOLDOWN_MS - 1_000, detail: expect.stringContaining("next try in 59 s") as string });
  expect(await client.job(host, JOB)).toMatchObject({ kind: "silent", because: expect.stringContaining("circuit is open") as string });
  expect(await client.cancel(host, JOB, { reason: "operator" })).toMatchObject({ kind: "silent" });
  expect(await client.health(host)).toMatchObject({ ok: false, withheld: { failedAgoMs: 1_000, consecutiveFailures: 5 } });
  const refusal = { code: "circuit_open", retryAfterMs: BREAKER_COOLDOWN_MS - 1_000, retryable: true, status: 503 };
  await expect(client.logs(host, "p", "c", 0, 10)).rejects.toMatchObject(refusal);
  await expect(client.runCommand(host, "p", "c", { argv: ["x"], timeout_s: 1 } as never, new AbortController().signal)).rejects.toMatchObject(refusal);
  expect(agents.connections()).toBe(made);
  expect(client.circuit(host)).toMatchObject({ state: "open", consecutiveFailures: 5 });
  expect(client.openCircuits()).toEqual([me.hostId]);

  // The trial fails: open for another whole cool-down, and nobody is told twice.
  clock.advance(BREAKER_COOLDOWN_MS);
  expect(await deliver(client, host)).toBe("unreachable");
  expect(await deliver(client, host)).toBe("circuit_open");
  clock.advance(BREAKER_COOLDOWN_MS);
  act = reply(202, accepted);
  expect(await deliver(client, host)).toBe("accepted");
  expect(client.openCircuits()).toEqual([]);
  expect(edges).toEqual([["open", true], ["half_open", false], ["open", false], ["half_open", false], ["closed", true]]);
  expect(client.calls(me.hostId)).toMatchObject({ totalRequests: 7, failedRequests: 6 });
});

test("half open lets one call out, however many ask at once", async () => {
  const clock = new ManualClock();
  const client = agents.newClient({ clock });
  let act = cut;
  const held: (() => void)[] = [];
  const host = await agents.agent((request, response) => act(request, response));
  for (let nth = 1; nth <= 5; nth += 1) await deliver(client, host);
  clock.advance(BREAKER_COOLDOWN_MS);
  act = (request, response) => void held.push(() => reply(202, accepted)(request, response));
  const asked = Array.from({ length: 10 }, () => deliver(client, host));
  await eventually(() => held.length > 0, { what: "the trial arrived" });
  expect((await Promise.all(asked.slice(1))).every((kind) => kind === "circuit_open")).toBe(true);
  expect(held).toHaveLength(1);
  expect([client.circuit(host).state, client.openCircuits()]).toEqual(["half_open", [me.hostId]]);
  held[0]!();
  expect(await asked[0]).toBe("accepted");
  expect(client.circuit(host).state).toBe("closed");
});

/** A command, whose answer is a stream, counts like a call whose answer is one document (decision 0020). */
const WAYS: readonly [string, typeof deliver][] = [
  ["a delivery", deliver],
  ["a command", (client, host) => client.runCommand(host, "p", "c", { command: ["x"], timeout_s: 1 }, new AbortController().signal).then(() => "accepted", (error: { code: string }) => error.code)],
];

describe.each(WAYS)("what counts against a host (0-7): %s", (_way, call) => {
  test.each<[string, Act]>([
    ["a cut connection", cut],
    ["a 500 in whatever form", reply(500, "oops")],
    ["a 503 that is not ours", reply(503, "<html>gateway</html>")],
    ["a 500 of ours", reply(500, problem("internal", 500))],
    ["a 202 that is no answer of ours", reply(202, "{}")],
    ["a redirect", reply(307, "", { location: "/elsewhere" })],
    ["a 404 that is cut", (_request, response) => response.writeHead(404, { "content-length": "100" }).write("x") && setImmediate(() => response.destroy())],
    ["a 404 that never ends", (_request, response) => response.writeHead(404).write("x".repeat(1_000_000))],
    ["a 500 under a code that is a wrong question's", reply(500, problem("component_not_running", 500))],
  ])("%s", async (_what, act) => {
    const client = agents.newClient();
    const host = await agents.agent(act);
    for (let nth = 1; nth <= 5; nth += 1) await call(client, host);
    expect(client.circuit(host).state).toBe("open");
  });
  test.each<[string, Act]>([
    ["a 404 of ours", reply(404, problem("no_active_deployment", 404))],
    ["a 404 of anybody", reply(404, "not found")],
    ["a 404 under a code that nobody knows", reply(404, problem("from_the_future", 404))],
    ["a 404 under a code that is a fault's", reply(404, problem("internal", 404))],
    ["a 409", reply(409, problem("busy", 409))],
    ["an agent that boots", reply(503, problem("agent_booting", 503))],
    ["an agent that stops", reply(503, problem("agent_draining", 503))],
    ["an agent without disk", reply(507, problem("disk_full", 507))],
  ])("not: %s", async (_what, act) => {
    const client = agents.newClient();
    const host = await agents.agent(act);
    for (let nth = 1; nth <= 8; nth += 1) await call(client, host);
    expect(client.circuit(host)).toMatchObject({ state: "closed", consecutiveFailures: 0 });
  });
  test("not: an address that we may not call", async () => {
    const client = agents.newClient({ allowLoopbackAgents: false });
    const host = await agents.agent(reply(202, accepted));
    for (let nth = 1; nth <= 8; nth += 1) expect(await call(client, host)).toContain("unreachable");
    expect(client.circuit(host)).toMatchObject({ state: "closed", consecutiveFailures: 0 });
  });
});

describe("somebody else answers", () => {
  const impostor = () => agents.agent(reply(202, accepted), stranger.host("web-01", { hostId: me.hostId }));
  const unpinned = async () => {
    const host = await agents.agent(reply(202, accepted));
    agents.pins = new Set(["0".repeat(64)]);
    return host;
  };

  test("a certificate that is not pinned opens at once, and no time mends it", async () => {
    const clock = new ManualClock();
    const client = agents.newClient({ clock });
    const host = await unpinned();
    expect(await deliver(client, host)).toBe("unreachable");
    clock.advance(10 * BREAKER_COOLDOWN_MS);
    expect(await client.deliver(host, job)).toMatchObject({ kind: "circuit_open", retryAfterMs: undefined, detail: expect.stringContaining("until an operator") as string });
    expect(client.circuit(host)).toMatchObject({ state: "open", cause: "identity", retryInMs: undefined });
  });
  test("an operator's reset, as every master reads it from the host's record, lets the next call out", async () => {
    const client = agents.newClient();
    const host = await unpinned();
    await deliver(client, host);
    agents.pins = new Set([me.sha256]);
    expect(await deliver(client, host)).toBe("circuit_open");
    expect(await deliver(client, { ...host, breakerResets: 1 })).toBe("accepted");
    // A record that was read before the reset takes nothing back.
    expect(await deliver(client, host)).toBe("accepted");
  });
  test("a stranger that answers the trial is told of, although a trial that fails is not", async () => {
    const clock = new ManualClock();
    const told: [CircuitState, boolean][] = [];
    const client = agents.newClient({ clock, observer: { onTransition: (change) => told.push([change.to, change.told]) } });
    let act = cut;
    const host = await agents.agent((request, response) => act(request, response));
    for (let nth = 1; nth <= 5; nth += 1) await deliver(client, host);
    clock.advance(BREAKER_COOLDOWN_MS);
    act = reply(202, accepted);
    agents.pins = new Set(["0".repeat(64)]);
    await deliver(client, host);
    expect(told).toEqual([["open", true], ["half_open", false], ["open", true]]);
    expect(client.circuit(host)).toMatchObject({ cause: "identity" });
  });
  test("looking at a circuit changes nothing and tells nothing, also when a reset waits to be followed", async () => {
    const told: CircuitState[] = [];
    const client = agents.newClient({ observer: { onTransition: ({ to }) => told.push(to) } });
    const host = await unpinned();
    await deliver(client, host);
    expect(client.circuit({ ...host, breakerResets: 1 })).toMatchObject({ state: "closed" });
    expect(client.circuit(host)).toMatchObject({ state: "open" });
    expect(told).toEqual(["open"]);
  });
  test("new pins close it, and that is told", async () => {
    const told: CircuitState[] = [];
    const client = agents.newClient({ observer: { onTransition: ({ to }) => told.push(to) } });
    const host = await unpinned();
    await deliver(client, host);
    agents.pins = new Set([me.sha256]);
    client.forget(host.id);
    expect(told).toEqual(["open", "closed"]);
    expect(await deliver(client, host)).toBe("accepted");
  });
  test("another address closes it: what is at the old one says nothing of the new one", async () => {
    const client = agents.newClient();
    const [old, next] = [await agents.agent(cut), await agents.agent(reply(202, accepted))];
    for (let nth = 1; nth <= 5; nth += 1) await deliver(client, old);
    expect(await deliver(client, old)).toBe("circuit_open");
    expect(await deliver(client, next)).toBe("accepted");
  });
  test("another authority's certificate is a failure like any other", async () => {
    const client = agents.newClient();
    const host = await impostor();
    for (let nth = 1; nth <= 5; nth += 1) await deliver(client, host);
    expect(client.circuit(host)).toMatchObject({ state: "open" });
  });
  test("with no pin at hand everybody is a stranger: that is our blindness, and opens nothing", async () => {
    const client = agents.newClient();
    const host = await agents.agent(reply(202, accepted));
    agents.pins = new Set();
    for (let nth = 1; nth <= 8; nth += 1) expect(await deliver(client, host)).toBe("unreachable");
    expect(client.circuit(host)).toMatchObject({ state: "closed", consecutiveFailures: 0 });
    agents.pins = new Set([me.sha256]);
    expect(await deliver(client, host)).toBe("accepted");
  });
});

test("a probe is a call like any other, and is counted with its bytes and its time", async () => {
  const counted: Parameters<NonNullable<CallObserver["onCall"]>>[0][] = [];
  const client = agents.newClient({ observer: { onTransition: () => undefined, onCall: (call) => counted.push(call) } });
  const host = await agents.agent(reply(200, ALIVE));
  expect(await client.health(host)).toMatchObject({ ok: true });
  expect(await client.deliver(host, job)).toMatchObject({ kind: "unreachable" });
  expect(counted).toEqual([
    { host, outcome: "success", ms: expect.any(Number) as number, bytesSent: 0, bytesReceived: JSON.stringify(ALIVE).length },
    { host, outcome: "failure", ms: expect.any(Number) as number, bytesSent: JSON.stringify(job).length, bytesReceived: JSON.stringify(ALIVE).length },
  ]);
  expect(client.calls(me.hostId)).toMatchObject({ totalRequests: 2, errorRate: 0.5, bytesSent: JSON.stringify(job).length, bytesReceived: 2 * JSON.stringify(ALIVE).length });
});

test("a command that its caller gives up says nothing of the host", async () => {
  const client = agents.newClient();
  const leaving = new AbortController();
  let arrived = 0;
  const host = await agents.agent(() => (arrived += 1));
  const commands = Array.from({ length: 6 }, () => client.runCommand(host, "p", "c", { argv: ["x"], timeout_s: 1 } as never, leaving.signal).catch((error: { code: string }) => error.code));
  await eventually(() => arrived === 6, { what: "the commands arrived" });
  leaving.abort();
  expect(new Set(await Promise.all(commands))).toEqual(new Set(["exec_outcome_unknown"]));
  expect(client.circuit(host)).toMatchObject({ state: "closed", consecutiveFailures: 0 });
});

test("what is known of a host goes with its last pin, and a call from before then settles into nothing", () => {
  const clock = new ManualClock();
  let pins = new Set([me.sha256]);
  const circuits = createCircuits({ clock, pinsOf: () => pins });
  const host = { id: me.hostId, name: "web-01", agentUrl: "https://10.0.0.1:1", breakerResets: 0 } as Parameters<typeof circuits.begin>[0];
  const begun = Array.from({ length: 5 }, () => circuits.begin(host));
  pins = new Set();
  circuits.pinsChanged(me.hostId);
  for (const call of begun) if (call.kind === "admitted") call.settle({ outcome: "failure" });
  expect(circuits.view(host)).toMatchObject({ state: "closed", consecutiveFailures: 0 });
  expect(circuits.calls(me.hostId)).toMatchObject({ totalRequests: 0 });
});

test("another cool-down, as tests set it, is when the trial goes and what is told of it", () => {
  const clock = new ManualClock();
  const circuits = createCircuits({ clock, pinsOf: () => new Set([me.sha256]), coolDownMs: 5_000 });
  const host = { id: me.hostId, name: "web-01", agentUrl: "https://10.0.0.1:1", breakerResets: 0 } as Parameters<typeof circuits.begin>[0];
  for (let nth = 0; nth < 5; nth += 1) {
    const call = circuits.begin(host);
    if (call.kind === "admitted") call.settle({ outcome: "failure" });
  }
  expect(circuits.view(host)).toMatchObject({ state: "open", retryInMs: 5_000 });
  clock.advance(4_999);
  expect(circuits.begin(host)).toMatchObject({ kind: "circuit_open", retryAfterMs: 1 });
  clock.advance(1);
  expect(circuits.begin(host)).toMatchObject({ kind: "admitted" });
});
