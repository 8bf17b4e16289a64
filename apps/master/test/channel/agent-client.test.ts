/** The master's calls to agents that lie, stall, flood or are somebody else (faults F50): a call may fail, nothing else. */
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import { uuidv7, type HostRecord } from "@skep/core";
import { eventually, ManualClock } from "@skep/testkit";
import type { PinnedAgentClient } from "../../src/agents/client.ts";
import { JOB, accepted, authority, job, me, problem, reply, stranger, useAgents, type Act } from "./agent-kit.ts";
import { clock, rng } from "./rig.ts";

const agents = useAgents();
const { agent, newClient } = agents;
let client: PinnedAgentClient;
beforeEach(() => {
  client = newClient();
});

test("control: an agent that accepts, over one kept connection", async () => {
  const host = await agent(reply(202, accepted));
  for (let i = 0; i < 3; i++) expect(await client.deliver(host, job)).toEqual({ kind: "accepted", opSeq: 3, bootId: "b", duplicate: false });
  expect(agents.connections()).toBe(1);
});

describe("delivery", () => {
  test("says in a header which span the job is of, as the job itself does", async () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const seen: unknown[] = [];
    const host = await agent((request, response) => {
      seen.push(request.headers["traceparent"]);
      reply(202, accepted)(request, response);
    });
    await client.deliver(host, { ...job, traceparent });
    await client.deliver(host, job);
    expect(seen).toEqual([traceparent, undefined]);
  });

  test("a refusal in our form is a refusal", async () => {
    expect(await client.deliver(await agent(reply(409, problem("stale_generation", 409))), job)).toEqual({ kind: "refused", status: 409, code: "stale_generation", detail: "why" });
  });
  test.each<[string, Act]>([
    ["a 404 that is not ours ends no row", reply(404, "<html>not found</html>")],
    ["a 422 with a code nobody knows", reply(422, { code: "made_up", detail: "x" })],
    ["202 for another job", reply(202, { ...accepted, job_id: uuidv7(clock.now(), rng) })],
    ["202 without a word", reply(202, "")],
    ["202 with nonsense", reply(202, "{".repeat(1_000))],
    ["202 with __proto__", reply(202, '{"__proto__":{"status":"accepted"}}')],
    ["200 instead of 202", reply(200, accepted)],
    ["a redirect", reply(307, "", { location: "https://169.254.169.254/latest/meta-data" })],
    ["a million bytes", reply(202, JSON.stringify({ ...accepted, boot_id: "x".repeat(1_000_000) }))],
    ["headers of a million bytes", (request) => request.socket.end(`HTTP/1.1 202 Accepted\r\nx-a: ${"a".repeat(1_000_000)}\r\n\r\n{}`)],
    ["a good answer, compressed: nothing is ever unpacked", (_request, response) => response.writeHead(202, { "content-encoding": "gzip" }).end(gzipSync(JSON.stringify(accepted)))],
    ["a cut answer", (_request, response) => response.writeHead(202, { "content-length": "1000" }).write("{") && setImmediate(() => response.destroy())],
    ["no answer at all", (request) => request.socket.destroy()],
    ["two lengths", (request) => request.socket.end("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}")],
    ["not HTTP", (request) => request.socket.end("hello\r\n\r\n")],
  ])("%s", async (_what, act) => {
    expect(await client.deliver(await agent(act), job)).toMatchObject({ kind: "unreachable" });
  });
  test("2 000 content encodings are read as none", async () => {
    const encodings = Array.from({ length: 2_000 }, () => "gzip").join(",");
    expect((await client.deliver(await agent(reply(202, accepted, { "content-encoding": encodings })), job)).kind).toBe("accepted");
  });
  test("an answer without end is cut at the limit", async () => {
    let sent = 0;
    const host = await agent((_request, response) => {
      response.writeHead(202);
      const more = (): void => {
        if (response.destroyed) return;
        sent += 16_384;
        if (response.write(Buffer.alloc(16_384, 32))) setImmediate(more);
        else response.once("drain", more);
      };
      more();
    });
    expect(await client.deliver(host, job)).toMatchObject({ kind: "unreachable", detail: expect.stringContaining("65536 bytes") });
    expect(sent).toBeLessThan(32 * 1_048_576);
  });
  test("an agent that never answers is given up after fifteen seconds", async () => {
    const manual = new ManualClock();
    const patient = newClient({ clock: manual });
    const host = await agent(() => undefined);
    const answer = patient.deliver(host, job);
    await manual.sleepers(1);
    await eventually(() => agents.connections() === 1, { what: "the request is under way" });
    manual.advance(15_000);
    expect(await answer).toEqual({ kind: "unreachable", detail: "no answer within 15000 ms" });
    await patient.close();
  });
});

describe("who answers", () => {
  test("another host with a certificate of our CA", async () => {
    expect(await client.deliver(await agent(reply(202, accepted), authority.host("web-02")), job)).toMatchObject({ kind: "unreachable", detail: expect.stringContaining("cert_mismatch") });
  });
  test("the right host with a certificate that is not pinned", async () => {
    expect(await client.deliver(await agent(reply(202, accepted), authority.host("web-01", { hostId: me.hostId })), job)).toMatchObject({ kind: "unreachable", detail: expect.stringContaining("cert_mismatch") });
  });
  test("a master, or somebody with its certificate", async () => {
    expect(await client.deliver(await agent(reply(202, accepted), authority.master()), job)).toMatchObject({ kind: "unreachable", detail: expect.stringContaining("wrong_role") });
  });
  test("a stranger's authority", async () => {
    expect(await client.deliver(await agent(reply(202, accepted), stranger.host("web-01", { hostId: me.hostId })), job)).toMatchObject({ kind: "unreachable" });
  });
  test("a pin that was taken away counts for the next connection, and forgetting ends the present one", async () => {
    const host = await agent(reply(202, accepted));
    expect((await client.deliver(host, job)).kind).toBe("accepted");
    agents.pins = new Set();
    client.forget(host.id);
    expect((await client.deliver(host, job)).kind).toBe("unreachable");
  });
});

describe("where it may call", () => {
  test("loopback only where it is allowed", async () => {
    const strict = newClient({ allowLoopbackAgents: false });
    expect(await strict.deliver(await agent(reply(202, accepted)), job)).toMatchObject({ kind: "unreachable", detail: expect.stringContaining("address_refused") });
    expect(agents.connections()).toBe(0);
    await strict.close();
  });
  test("not outside the host's allowed_cidr", async () => {
    expect(await client.deliver(await agent(reply(202, accepted), me, { allowedCidr: "10.0.0.0/8" }), job)).toMatchObject({ kind: "unreachable" });
    expect((await client.deliver(await agent(reply(202, accepted), me, { allowedCidr: "127.0.0.0/8" }), job)).kind).toBe("accepted");
  });
  test("nothing is called while no address is known", async () => {
    expect(await client.deliver({ id: me.hostId, name: "web-01", agentPort: 8444 } as HostRecord, job)).toMatchObject({ kind: "unreachable" });
  });
});

describe("the other calls", () => {
  test("a job: known, unknown, and a 404 that proves nothing", async () => {
    const view = { ...job, status: "running", accepted_at: "x", op_seq: 1, boot_id: "b" };
    expect(await client.job(await agent(reply(200, view)), JOB)).toMatchObject({ kind: "job", job: { status: "running" } });
    expect(await client.job(await agent(reply(404, problem("job_not_found", 404))), JOB)).toEqual({ kind: "unknown" });
    expect(await client.job(await agent(reply(404, "no")), JOB)).toMatchObject({ kind: "silent" });
    expect(await client.job(await agent(reply(404, problem("route_not_found", 404))), JOB)).toMatchObject({ kind: "silent" });
    expect(await client.job(await agent(reply(200, { ...view, job_id: uuidv7(clock.now(), rng) })), JOB)).toMatchObject({ kind: "silent" });
  });
  test("a dry run throws the agent's own refusal, or host_unreachable", async () => {
    const command = { ...job, operation: "deploy" as const, spec: {} as never, spec_hash: "a".repeat(64), desired: "running" as const };
    await expect(client.dryRun(await agent(reply(422, problem("spec_refused", 422))), command)).rejects.toMatchObject({ code: "spec_refused" });
    await expect(client.dryRun(await agent(reply(500, "x")), command)).rejects.toMatchObject({ code: "host_unreachable" });
    expect(await client.dryRun(await agent(reply(200, { status: "dry_run", plan: [], warnings: [] })), command)).toMatchObject({ status: "dry_run" });
  });
  test("health: an answer, and the reason when there is none", async () => {
    expect(await client.health(await agent(reply(200, { status: "ok", phase: "ready", version: "1", boot_id: "b" })))).toMatchObject({ ok: true, health: { phase: "ready" } });
    expect(await client.health(await agent(reply(200, { status: "fine" })))).toMatchObject({ ok: false, error: expect.stringContaining("not ours") });
  });
  test("logs: bytes as they are and the next offset; without one it is no answer", async () => {
    const bytes = Buffer.from([0, 255, 10, 13]);
    const host = await agent((_request, response) => response.writeHead(200, { "x-next-offset": "4" }).end(bytes));
    expect(await client.logs(host, job.placement_id, "web", 0, 100)).toEqual({ data: bytes, nextOffset: 4 });
    await expect(client.logs(await agent(reply(200, "x")), job.placement_id, "web", 0, 100)).rejects.toMatchObject({ code: "host_unreachable" });
    await expect(client.logs(await agent(reply(404, problem("logs_not_found", 404))), job.placement_id, "web", 0, 100)).rejects.toMatchObject({ code: "logs_not_found" });
  });
});

describe("commands", () => {
  const never = new AbortController().signal;
  const run = async (host: HostRecord, signal: AbortSignal = never, timeoutS = 60): Promise<unknown[]> => {
    const frames: unknown[] = [];
    const { frames: open } = await client.runCommand(host, job.placement_id, "web", { command: ["x"], timeout_s: timeoutS }, signal);
    for await (const frame of open) frames.push(frame);
    return frames;
  };
  const says = (...lines: readonly string[]): Act => (_request, response) => void response.writeHead(200, { "content-type": "application/x-ndjson" }).end(lines.join("\n"));
  const OUT = '{"stream":"stdout","data":"aGk="}';
  const END = '{"exit_code":3,"truncated_bytes":0}\n';
  const lost = { code: "exec_outcome_unknown" };

  test("control: frames, signs of life, and nothing after the end", async () => {
    expect(await run(await agent(says("", OUT, "", END, OUT, "")))).toEqual([{ stream: "stdout", data: "aGk=" }, { exit_code: 3, truncated_bytes: 0 }]);
  });
  test.each<[string, Act]>([
    ["no end", says(OUT, "")],
    ["an end that was cut", says(OUT, END.slice(0, 10))],
    ["two ends in one", says('{"exit_code":0,"signal":"SIGKILL"}\n')],
    ["an end that says nothing", says("{}\n")],
    ["an exit code that is none", says('{"exit_code":4711}\n')],
    ["control characters in an error", says('{"error":{"code":"x","message":"\\u001b[2J"}}\n')],
    ["output that is not base64", says('{"stream":"stdout","data":"\\u0000"}\n')],
    ["a third stream", says('{"stream":"stdin","data":""}\n')],
    ["nonsense", says("hello\n")],
    ["a frame that never ends", (_request, response) => response.writeHead(200).write("x".repeat(1_000_000))],
    ["compressed", (_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(END))],
    ["a cut connection", (_request, response) => response.writeHead(200).write(`${OUT}\n`) && setImmediate(() => response.destroy())],
    ["no answer at all: it may have been taken", (request) => request.socket.destroy()],
  ])("%s is an outcome nobody knows", async (_what, act) => {
    await expect(run(await agent(act))).rejects.toMatchObject(lost);
  });
  test.each<[string, Act, string]>([
    ["a refusal in our form", reply(409, problem("component_not_running", 409)), "component_not_running"],
    ["an agent that knows no such route", reply(404, problem("route_not_found", 404)), "exec_unsupported"],
    ["a refusal of somebody else", reply(404, "<html>"), "host_unreachable"],
    ["a refusal that never ends", (_request, response) => response.writeHead(409).write("x".repeat(1_000_000)), "host_unreachable"],
    ["a redirect", reply(307, "", { location: "https://169.254.169.254/" }), "host_unreachable"],
  ])("%s", async (_what, act, code) => {
    await expect(run(await agent(act))).rejects.toMatchObject({ code });
  });
  test("what was never sent is not in doubt: nobody there, and somebody else there", async () => {
    await expect(run({ id: me.hostId, name: "web-01", agentPort: 8444, agentUrl: "https://127.0.0.1:1" } as HostRecord)).rejects.toMatchObject({ code: "host_unreachable" });
    await expect(run(await agent(says(END), authority.host("web-02")))).rejects.toMatchObject({ code: "host_unreachable" });
  });
  test("output without end is cut at the limit, and is not piled up for who does not take it", async () => {
    let sent = 0;
    const line = `{"stream":"stdout","data":"${Buffer.alloc(49_152, "x").toString("base64")}"}\n`;
    const host = await agent((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        if (response.destroyed) return;
        sent += line.length;
        if (response.write(line)) setImmediate(more);
        else response.once("drain", more);
      };
      more();
    });
    const { frames } = await client.runCommand(host, job.placement_id, "web", { command: ["x"], timeout_s: 60 }, never);
    const reader = frames[Symbol.asyncIterator]();
    await reader.next();
    let before = -1;
    await eventually(() => {
      const still = sent === before;
      before = sent;
      return still;
    }, { what: "the agent is held up" });
    expect(sent).toBeLessThan(16 * 1_048_576);
    await expect((async () => {
      while ((await reader.next()).done !== true);
    })()).rejects.toMatchObject(lost);
  });
  test("an abort, leaving the frames, and a revoked pin end the connection", async () => {
    let closed = 0;
    const host = await agent((_request, response) => {
      response.writeHead(200).write(`${OUT}\n`);
      response.on("close", () => (closed += 1));
    });
    const stop = new AbortController();
    const open = (signal: AbortSignal) => client.runCommand(host, job.placement_id, "web", { command: ["x"], timeout_s: 60 }, signal);
    const first = (await open(stop.signal)).frames[Symbol.asyncIterator]();
    await first.next();
    stop.abort();
    await expect(first.next()).rejects.toMatchObject(lost);
    await eventually(() => closed === 1, { what: "the abort reaches the agent" });
    for await (const _frame of (await open(never)).frames) break;
    await eventually(() => closed === 2, { what: "leaving reaches the agent" });
    const third = (await open(never)).frames[Symbol.asyncIterator]();
    await third.next();
    client.forget(host.id);
    await expect(third.next()).rejects.toMatchObject(lost);
    await eventually(() => closed === 3, { what: "the revocation reaches the agent" });
  });
  test("long commands take no connection that jobs need", async () => {
    const host = await agent((request, response) => {
      if (request.url === `/${job.operation}`) return reply(202, accepted)(request, response);
      response.writeHead(200).write(`${OUT}\n`);
    });
    const stop = new AbortController();
    const open = await Promise.all(Array.from({ length: 8 }, () => client.runCommand(host, job.placement_id, "web", { command: ["x"], timeout_s: 60 }, stop.signal)));
    expect(open).toHaveLength(8);
    expect((await client.deliver(host, job)).kind).toBe("accepted");
    stop.abort();
  });
});

describe("metrics", () => {
  const TEXT = "# TYPE worker_agent_startup_total counter\nworker_agent_startup_total 1\n";
  const codeOf = (promise: Promise<unknown>): Promise<string> => promise.then(() => "answered", (error: { code?: string }) => error.code ?? "?");

  test("what is Prometheus' format is passed on as it is", async () => {
    expect(await client.metrics(await agent(reply(200, TEXT, { "content-type": "text/plain" })))).toBe(TEXT);
  });
  test.each<[string, Act]>([
    ["a page", reply(200, "<script>alert(1)</script>\n")],
    ["more than a mebibyte", reply(200, TEXT.repeat(20_000))],
    ["bytes that are no text", reply(200, "\u0000\u0001\n")],
    ["a redirect", reply(302, "", { location: "http://169.254.169.254/" })],
    ["a 404 that is not ours", reply(404, "<html>")],
  ])("%s is an agent that was not reached", async (_what, act) => {
    expect(await codeOf(client.metrics(await agent(act)))).toBe("host_unreachable");
  });
  test("an agent that is too old to have any is called so", async () => {
    expect(await codeOf(client.metrics(await agent(reply(404, problem("route_not_found", 404)))))).toBe("metrics_unsupported");
  });
});
