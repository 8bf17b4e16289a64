/**
 * Commands and logs as an operator has them, on a real fleet whose parts are killed meanwhile: a command runs only where
 * the host's owner allows it and is in the audit log whatever becomes of it; a followed log shows every line once.
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, requireBuilt, startProgram, type Program } from "@skep/testkit";
import { beforeAll, expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { rolloutIs, sent, succeeds } from "../src/harness/operations.ts";
import { readStarts } from "../src/harness/starts.ts";
import { useFleet } from "./kit/use-fleet.ts";

const CLI = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "cli");
let agent: Agent;
// A host that this machine holds up for a moment is late, and not given up.
const site = useFleet("exec-logs", { intervalMs: 2_000 }, async (fleet) => {
  const config = join(fleet.dir, "agent.json");
  writeFileSync(config, "{}");
  agent = await fleet.addAgent("bee-1", { env: { SKEP_AGENT_CONFIG: config } });
});

const COUNTER = `
const { existsSync, readFileSync, writeFileSync } = require("node:fs");
let n = existsSync("n") ? Number(readFileSync("n", "utf8")) : 0;
setInterval(() => {
  n += 1;
  console.log(\`line \${n} ünï\`);
  writeFileSync("n", String(n));
  if (n % 500 === 0) process.exit(1);
}, 10);`;
const SPEC = {
  driver: "process",
  components: [
    { name: "count", command: [process.execPath, "-e", COUNTER], restart: { policy: "always" }, stop_timeout_s: 1 },
    { name: "calm", command: ["/bin/sleep", "3600"], stop_timeout_s: 1 },
  ],
};

beforeAll(async () => {
  requireBuilt(CLI);
  await succeeds(site.fleet.api, "/v1/deployments", { name: "chatty", spec: SPEC, placement: { hosts: ["bee-1"] } });
});

function skep(...argv: readonly string[]): Program {
  const { api, dir } = site.fleet;
  return startProgram([join(CLI, "bin/skep.js"), ...argv], { env: { SKEP_URL: api.url, SKEP_TOKEN: api.token, HOME: dir, XDG_CONFIG_HOME: dir } });
}
async function exec(command: readonly string[], options: readonly string[] = [], stdin = ""): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const program = skep("exec", ...options, "chatty/calm", "--", ...command);
  program.child.stdin.end(stdin);
  const { code } = await program.exited;
  return { code, stdout: program.stdout(), stderr: program.stderr() };
}
const audit = async (): Promise<any[]> => (await site.fleet.api.get("/v1/audit?action=exec")).items;

test("off until the host's owner says otherwise in the agent's own file", async () => {
  const refused = await exec(["/bin/true"]);
  expect(refused.code).toBe(125);
  expect(refused.stderr).toContain("exec_not_allowed");
  expect(refused.stderr).toContain("allow.exec");
  expect(await audit()).toMatchObject([{ action: "exec.start", outcome: "denied", detail: { host: "bee-1", program: "/bin/true" } }]);

  writeFileSync(join(site.fleet.dir, "agent.json"), '{"allow":{"exec":true}}');
  agent.program()!.kill("SIGHUP");
  await eventually(async () => (await exec(["/bin/true"])).code === 0, { what: "the host allows it", timeoutMs: 90_000 });
});

test("its exit code, its outputs apart, its input, and two rows in the audit log without a word of them", async () => {
  const script = "process.stdin.on('data', (d) => process.stdout.write('got ' + d)).on('end', () => { console.error('env', process.env.SKEP_COMPONENT, process.argv[1]); process.exit(7); })";
  const ran = await exec([process.execPath, "-e", script, "s3cret"], ["-i"], "ünï\n");
  expect(ran).toEqual({ code: 7, stdout: "got ünï\n", stderr: "env calm s3cret\n" });
  const [end, start] = await audit();
  expect(start).toMatchObject({ action: "exec.start", outcome: "allowed", detail: { component: "calm", host: "bee-1", program: process.execPath, arguments: 3 } });
  expect(end).toMatchObject({ action: "exec.end", detail: { exec_id: start.detail.exec_id, exit_code: 7, stdout_bytes: 10, stderr_bytes: 16 } });
  expect(JSON.stringify(await audit())).not.toMatch(/s3cret|ünï/);
  expect((await exec(["no-such-program"])).code).toBe(127);
  expect((await exec(["sleep", "60"], ["--timeout", "1s"])).code).toBe(124);
});

test("an agent killed under a command: nobody claims to know, and the next agent ends what was left", async () => {
  const program = skep("exec", "chatty/calm", "--", process.execPath, "-e", "console.log(process.pid); setInterval(() => {}, 1000)");
  const [pid] = await program.output(/^\d+$/m, 60_000);
  await agent.kill();
  expect((await program.exited).code).toBe(125);
  expect(program.stderr()).toContain("exec_outcome_unknown");
  await eventually(async () => (await audit())[0].detail.error === "exec_outcome_unknown", { what: "the end is written down for what it is", timeoutMs: 60_000 });
  await agent.start();
  await eventually(() => {
    try {
      return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      return true;
    }
  }, { what: "the command is ended", timeoutMs: 60_000 });
});

interface Shown {
  readonly offset: number;
  readonly next: number;
  readonly text: string;
}

/** A host that was away for longer than a few questions has an open circuit, which is tried again after a minute; and a component that crashes often waits before it is started again. */
const GOES_ON_WITHIN_MS = 180_000;

test("logs -f: every line once and in order over the component's crashes, kill -9 of it, of the agent, of the master, and a redeploy", async () => {
  const { fleet } = site;
  const kept = join(fleet.dir, "followed.ndjson");
  const shown = (text: string): Shown[] => text.split("\n").filter((line) => line.includes('"text"')).map((line) => JSON.parse(line) as Shown);
  const reader = skep("logs", "chatty", "-f", "--component", "count", "--json", "--tail", "1");
  const more = async (what: string): Promise<void> => {
    const before = shown(reader.stdout()).length;
    await eventually((status) => {
      status(`${shown(reader.stdout()).length - before} more; ${reader.stderr().slice(-300)}`);
      return shown(reader.stdout()).length > before + 20;
    }, { what: `lines go on ${what}`, timeoutMs: GOES_ON_WITHIN_MS });
  };
  await more("at first");
  const starts = (): number => readStarts(agent.stateDir).length;
  const before = starts();
  // It ends by itself every 500 lines, so the last start in the books may just have ended: then the next one is the victim.
  await eventually(() => process.kill(readStarts(agent.stateDir).findLast((start) => start.component === "count")!.pid!, "SIGKILL"), { what: "the component is killed", timeoutMs: GOES_ON_WITHIN_MS });
  await eventually(() => starts() > before, { what: "it is started again", timeoutMs: GOES_ON_WITHIN_MS });
  await more("after the component was killed");
  await agent.kill();
  await eventually(() => reader.stderr().includes("host_unreachable"), { what: "the silence is told", timeoutMs: 60_000 });
  await agent.start();
  await more("after the agent was killed");
  const silences = reader.stderr().match(/host_unreachable/g);
  await fleet.master.kill();
  await fleet.master.start();
  await more("after the master was killed");
  // The gate may see it in the middle of one of its own crashes and refuse it, rightly; it runs on all the same.
  const { rollout_id: rolloutId } = await sent(fleet.api, "/v1/deployments/chatty/redeploy", {});
  await rolloutIs(() => fleet.api, rolloutId!, ["succeeded", "failed"]);
  await more("after a redeploy");

  // The reader itself is killed in the middle of whatever it does, and another goes on from what it wrote.
  reader.kill("SIGKILL");
  await reader.exited;
  const whole = reader.stdout().slice(0, reader.stdout().lastIndexOf("\n") + 1);
  writeFileSync(kept, whole);
  const second = skep("logs", "chatty", "-f", "--component", "count", "--json", "--from", kept);
  await eventually(() => shown(second.stdout()).length > 50, { what: "the second reader goes on", timeoutMs: GOES_ON_WITHIN_MS });
  second.kill("SIGINT");
  expect((await second.exited).code).toBe(130);
  expect(JSON.parse(second.stdout().trim().split("\n").at(-1)!)).toHaveProperty("positions");

  const lines = [...shown(whole), ...shown(second.stdout())];
  const truth = logOf(agent);
  for (const [index, line] of lines.entries()) {
    if (index > 0) expect([index, line.offset]).toEqual([index, lines[index - 1]!.next]);
  }
  const from = lines[0]!.offset;
  expect(lines.map((line) => line.text).join("\n")).toBe(truth.subarray(from, lines.at(-1)!.next).toString("utf8").trimEnd());
  expect(lines.length).toBeGreaterThan(150);
  // However often the host was asked meanwhile.
  expect(silences).toHaveLength(1);
}, 900_000);

/** The counting component's whole output, as its runners wrote it. */
function logOf({ stateDir }: Agent): Buffer {
  const files = readdirSync(stateDir, { recursive: true, encoding: "utf8" }).filter((name) => /\/count\/logs\/\d+\.log$/.test(name)).sort();
  return Buffer.concat(files.map((name) => readFileSync(join(stateDir, name))));
}
