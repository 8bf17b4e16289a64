/** `skep exec` ends as the command does, passes its bytes on as they are, and keeps its own failures apart. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { problem, startFakeApi, type Answer, type FakeApi } from "./fake-api.ts";
import { skep } from "./run-skep.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

const STARTED = { exec_id: "0199a3c4-0000-7000-8000-000000000001", host: "web-01", component: "web", placement_id: "0199a3c4-0000-7000-8000-000000000002" };
const says = (stream: "stdout" | "stderr", data: string | Uint8Array) => ({ stream, data: Buffer.from(data as string).toString("base64") });
const ends = (how: object, extra: object = {}) => ({ ...how, truncated_bytes: 0, duration_ms: 5, audited: true, ...extra });

function answers(...frames: readonly object[]): void {
  api.on("execDeployment", (_request, response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.end([STARTED, ...frames].map((frame) => `${JSON.stringify(frame)}\n\n`).join(""));
    return "hold";
  });
}

test("stdout and stderr apart, and its exit code", async () => {
  answers(says("stdout", "hello\n"), says("stderr", "hm\n"), ends({ exit_code: 7 }));
  expect(await skep(["exec", "web/db", "--host", "web-01", "--timeout", "5m", "--", "ls", "--json", "-l", "a b"], { url: api.url })).toEqual({ code: 7, out: "hello\n", err: "hm\n" });
  expect(api.seen).toMatchObject([{ params: { deployment: "web" }, body: { command: ["ls", "--json", "-l", "a b"], component: "db", host: "web-01", timeout_s: 300 } }]);
  expect(api.seen[0]!.body).not.toHaveProperty("stdin_base64");
});

test("a pipe gets the bytes as they are; a terminal gets no escape sequence and no torn character", async () => {
  const bytes = Uint8Array.of(0x1b, 0x5b, 0x32, 0x4a, 0xc3);
  answers(says("stdout", bytes), says("stdout", Uint8Array.of(0xbc, 0x09, 0x0a)), ends({ exit_code: 0 }));
  expect((await skep(["exec", "web", "--", "x"], { url: api.url })).out).toBe("\u001b[2Jü\t\n");
  expect((await skep(["exec", "web", "--", "x"], { url: api.url, tty: true })).out).toBe("\\x1b[2Jü\t\n");
});

test("-i sends stdin, up to a mebibyte", async () => {
  answers(ends({ exit_code: 0 }));
  await skep(["exec", "-i", "web", "--", "cat"], { url: api.url, stdin: "ünï" });
  expect(api.seen[0]!.body).toMatchObject({ stdin_base64: Buffer.from("ünï").toString("base64") });
  const ran = await skep(["exec", "-i", "web", "--", "cat"], { url: api.url, stdin: new Uint8Array(1_048_577) });
  expect([ran.code, api.seen.length]).toEqual([125, 1]);
});

test.each([
  [{ signal: "SIGKILL" }, 137],
  [{ signal: "SIGTERM" }, 143],
  [{ error: { code: "exec_timeout", message: "too long" } }, 124],
  [{ error: { code: "program_not_found", message: "no ls" } }, 127],
  [{ error: { code: "not_executable", message: "no" } }, 126],
  [{ error: { code: "exec_outcome_unknown", message: "lost" } }, 125],
])("%j is exit code %i", async (how, code) => {
  answers(ends(how));
  expect((await skep(["exec", "web", "--", "x"], { url: api.url })).code).toBe(code);
});

test.each(["exec_not_allowed", "component_not_running", "placement_ambiguous", "deployment_not_found", "unauthenticated", "host_unreachable"] as const)("a refusal is 125 and says why: %s", async (code) => {
  api.on("execDeployment", problem(code, "because"));
  const ran = await skep(["exec", "web", "--", "x"], { url: api.url });
  expect(ran.code).toBe(125);
  expect(ran.err).toContain(`[${code}]`);
  // Sent once: what may have run is not run again.
  expect(api.seen).toHaveLength(1);
});

test("so is a line that cannot be understood, and a command that was cut off in the middle", async () => {
  for (const argv of [["exec"], ["exec", "web"], ["exec", "web", "--nope", "--", "x"], ["exec", "a/b/c", "--", "x"], ["exec", "web/UPPER", "--", "x"], ["exec", "--timeout", "2h", "web", "--", "x"]]) {
    expect([argv.join(" "), (await skep(argv, { url: api.url })).code]).toEqual([argv.join(" "), 125]);
  }
  expect((await skep(["exec", "--help"], { url: api.url })).code).toBe(0);
  api.on("execDeployment", () => "drop" as Answer | "drop");
  expect((await skep(["exec", "web", "--", "x"], { url: api.url })).code).toBe(125);
  answers(says("stdout", "half"));
  const ran = await skep(["exec", "web", "--", "x"], { url: api.url });
  expect([ran.code, ran.out]).toEqual([125, "half"]);
  expect(ran.err).toContain("ended without the command's end");
});

test("a revoked token ends it with the problem it is", async () => {
  answers(says("stdout", "on"), { problem: problem("unauthenticated").body });
  const ran = await skep(["exec", "web", "--", "x"], { url: api.url });
  expect([ran.code, ran.err.includes("unauthenticated")]).toEqual([125, true]);
});

test("what was cut off or not written down is said", async () => {
  answers(ends({ exit_code: 0 }, { truncated_bytes: 12, audited: false }));
  const ran = await skep(["exec", "web", "--", "x"], { url: api.url });
  expect(ran.code).toBe(0);
  expect(ran.err).toContain("12 bytes of output were cut off");
  expect(ran.err).toContain("could not be written to the audit log");
});

test("Ctrl-C ends it with 130 and says that the command ends too", async () => {
  const stop = new AbortController();
  api.on("execDeployment", (_request, response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.write(`${JSON.stringify(says("stdout", "on"))}\n`);
    return "hold";
  });
  const ran = await skep(["exec", "web", "--", "x"], { url: api.url, signal: stop.signal, onOut: () => stop.abort() });
  expect([ran.code, ran.err.includes("killed with its connection")]).toEqual([130, true]);
});

test("--json: the frames as the API sent them", async () => {
  answers(says("stdout", "hi"), ends({ exit_code: 3 }, { from_the_future: 1 }));
  const ran = await skep(["--json", "exec", "web", "--", "x"], { url: api.url });
  expect([ran.code, ran.out.trim().split("\n").map((line) => JSON.parse(line) as object)]).toEqual([3, [STARTED, says("stdout", "hi"), ends({ exit_code: 3 }, { from_the_future: 1 })]]);
});

test("skep audit: newest first, page by page", async () => {
  const row = (id: number) => ({ id: String(id), at: "2026-11-20T19:55:19.123Z", actor: "token:x", action: "exec.start", subject: "placement:y", outcome: id === 1 ? "denied" : "allowed", request_id: null, detail: { program: "ls\u001b[2J", arguments: 2 } });
  api.on("listAudit", ({ query }) => ({ body: query["cursor"] === "2" ? { items: [row(1)], next_cursor: null } : { items: [row(3), row(2)], next_cursor: "2" } }));
  const ran = await skep(["audit", "--action", "exec"], { url: api.url });
  expect(ran.out.split("\n").slice(0, 2)).toEqual([expect.stringContaining("ACTION"), expect.stringContaining("program=ls\\x1b[2J arguments=2")]);
  expect(ran.out.trim().split("\n")).toHaveLength(4);
  expect(api.seen[0]!.query["action"]).toBe("exec");
  const json = await skep(["audit", "--json"], { url: api.url });
  expect((JSON.parse(json.out) as { items: { id: string }[] }).items.map((item) => item.id)).toEqual(["3", "2", "1"]);
});
