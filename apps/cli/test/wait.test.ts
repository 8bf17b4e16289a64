/** Waiting: the outcome is what the rows say, whatever happens to the master or the person in between. */
import { isTerminal, LIFECYCLE_STATUSES } from "@skep/core";
import type { LifecycleJson } from "@skep/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { renderLine } from "../src/text/line.ts";
import { progressLines, progressWord } from "../src/wait/render.ts";
import { decideOutcome, tallyRows } from "../src/wait/tally.ts";
import { problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { accepted, detail, placement, row, rowList, uuid } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
  api.on("redeployDeployment", { status: 202, body: accepted(1, 2) });
  api.on("getDeployment", { body: detail("web", [placement(1), placement(2)]) });
});
afterEach(() => api.close());

const open = { completed_at: null, agent_completed_at: null } as const;
const redeploy = ["redeploy", "web"];

test.each([
  [["succeeded", "succeeded"], "succeeded", 0],
  [["succeeded", "failed"], "failed", 6],
  [["failed", "cancelled"], "failed", 6],
  [["succeeded", "cancelled"], "cancelled", 6],
  [["succeeded", "superseded"], "superseded", 5],
  [["succeeded", "running"], "timed_out", 8],
  [["failed", "pending"], "timed_out", 8],
  [["running", "lost"], "timed_out", 8],
  [["succeeded", "lost"], "undecided", 7],
  [["lost", "lost"], "undecided", 7],
] as const)("rows %j are %s, exit %i", async (statuses, outcome, exit) => {
  api.on("listLifecycle", ({ query }) => ({ body: rowList(...statuses.map((status, i) => row(i + 1, { status, ...(isTerminal(status) ? {} : open) })).filter((item) => query["ids"]!.includes(item.id))) }));
  const ran = await skep([...redeploy, "--json", "--timeout", "20"], { url: api.url, clock: hastyClock() });
  expect(ran.code).toBe(exit);
  expect(JSON.parse(ran.out)).toMatchObject({ deployment_id: uuid(900), outcome, rows: statuses.map((status) => ({ status })) });
});

test("rows that are not mentioned have not ended", () => {
  expect(decideOutcome(tallyRows([uuid(1), uuid(2)], new Map([[uuid(1), row(1)]])), "timeout").outcome).toBe("timed_out");
});

test("every status is counted once", () => {
  const rows = new Map(LIFECYCLE_STATUSES.map((status, i) => [uuid(i), row(i, { status })]));
  const { total, open: unended, succeeded, failed, cancelled, superseded } = tallyRows([...rows.keys()], rows);
  expect(unended + succeeded + failed + cancelled + superseded).toBe(total);
});

test("success is summed up with where it runs", async () => {
  api.on("listLifecycle", { body: rowList(row(1), row(2)) });
  const ran = await skep(redeploy, { url: api.url });
  expect(ran.out).toBe(`redeploy web generation 3: succeeded on 2 hosts
DEPLOYMENT  HOST    STATE    WANTED   GEN  PORTS           BECAUSE
web         host-1  running  running    3  web/http=20001  the host reports it running
web         host-2  running  running    3  web/http=20002  the host reports it running
`);
});

test("failure is summed up by cause, with the way to more", async () => {
  api.on("listLifecycle", { body: rowList(row(1, { status: "failed", failure_code: "agent_error", error: "port 8080 in use" }), row(2, { status: "failed", failure_code: "agent_error", error: "port 8080 in use" })) });
  const ran = await skep(redeploy, { url: api.url });
  expect(ran).toMatchObject({ code: 6, out: `redeploy web generation 3: failed\n  2× failed: port 8080 in use   (host-1 host-2)\n     why: skep explain lifecycle ${uuid(1)}\n` });
});

test("into a pipe: one line per change and one per ten seconds", async () => {
  let looks = 0;
  api.on("listLifecycle", () => {
    looks += 1;
    return { body: looks < 60 ? rowList(row(1, { status: "running", ...open }), row(2)) : rowList(row(1), row(2)) };
  });
  const ran = await skep(redeploy, { url: api.url, clock: hastyClock() });
  const lines = ran.err.trimEnd().split("\n");
  expect(lines.length).toBeLessThan(10);
  expect(lines[0]).toBe("redeploy web generation 3: 1/2 ended, ok 1, failed 0, open 1 (0s)");
  expect(lines.at(-1)).toMatch(/: 2\/2 ended, ok 2, failed 0, open 0 \(\d+s\)$/);
  expect(ran.err).not.toContain("\u001b");
});

test("a master that goes away in between is waited for", async () => {
  api.on("listLifecycle", async () => {
    if (api.seen.filter((seen) => seen.id === "listLifecycle").length === 2) {
      void api.pause();
      return "drop";
    }
    return { body: rowList(row(1, { status: "running", ...open }), row(2)) };
  });
  const clock = hastyClock();
  let back: Promise<void> | undefined;
  const ran = await skep(redeploy, {
    url: api.url, clock,
    onErr: (all) => {
      if (!all.includes("does not answer") || back !== undefined) return;
      api.on("listLifecycle", { body: rowList(row(1), row(2)) });
      back = api.resume();
    },
  });
  await back;
  expect(ran.code).toBe(0);
  expect(ran.err).toContain("the master does not answer (master_unreachable); asking again");
});

test("one that stays away is no success: the outcome is not known here", async () => {
  api.on("listLifecycle", problem("database_unavailable"));
  const ran = await skep([...redeploy, "--timeout", "30"], { url: api.url, clock: hastyClock() });
  expect(ran).toMatchObject({ code: 11, out: "" });
  expect(ran.err).toContain("the outcome is not known here");
});

test("a refusal while waiting ends the wait", async () => {
  api.on("listLifecycle", problem("unauthenticated"));
  expect(await skep(redeploy, { url: api.url })).toMatchObject({ code: 4, out: "" });
});

test("Ctrl-C detaches: 130, the work untouched, and how to go on", async () => {
  const stop = new AbortController();
  api.on("listLifecycle", { body: rowList(row(1, { status: "running", ...open }), row(2)) });
  const ran = await skep(redeploy, { url: api.url, signal: stop.signal, onErr: (all) => all.includes("1/2") && stop.abort() });
  expect(ran).toMatchObject({ code: 130, out: "" });
  expect(ran.err).toContain(`Watch   skep lifecycle ${uuid(1)} ${uuid(2)} --watch`);
  expect(ran.err).toContain(`Cancel  skep lifecycle cancel ${uuid(1)} ${uuid(2)}`);
  expect(api.seen.map((seen) => seen.id)).not.toContain("cancelLifecycle");
});

test("and the words it printed take the wait up again", async () => {
  api.on("listLifecycle", () => ({ body: rowList(row(1, api.seen.length < 3 ? { status: "running", ...open } : {}), row(2)) }));
  expect(await skep(["lifecycle", uuid(1), uuid(2), "--watch"], { url: api.url, clock: hastyClock() })).toMatchObject({ code: 0, out: "2 rows: succeeded\n" });
});

test("on a terminal four lines are redrawn, whatever the number of hosts", async () => {
  let looks = 0;
  api.on("listLifecycle", () => {
    looks += 1;
    return { body: rowList(row(1, looks < 3 ? { status: "running", ...open } : {}), row(2)) };
  });
  const ran = await skep(redeploy, { url: api.url, clock: hastyClock(), tty: true });
  const frames = ran.err.split("\u001b[4A\r\u001b[J");
  // Three looks, and at the end nothing of them is left.
  expect(frames).toHaveLength(4);
  expect(frames.pop()).toBe("");
  for (const frame of frames) expect(frame.trimEnd().split("\n")).toHaveLength(4);
});

test("3 000 rows make the same four lines, none wider than the terminal", () => {
  const ids = Array.from({ length: 3_000 }, (_, i) => uuid(i));
  const rows = new Map<string, LifecycleJson>(ids.map((id, i) => [id, row(i, { id, host: `web-${i}`, ...(i % 10 === 0 ? { status: "failed", error: `port ${i % 3} in use` } : i % 3 === 0 ? { status: "running", ...open } : {}) })]));
  const progress = { title: "deploy api generation 41", ids, rows, tally: tallyRows(ids, rows), elapsedMs: 131_400, trouble: undefined };
  expect(progressLines(progress).map((line) => renderLine(line, false, 100))).toEqual([
    "deploy api generation 41  ▕███████████░░░░░▏  2100/3000  ok 1800  failed 300  open 900  2m11s",
    "  now   working: web-3 web-6 web-9 and 897 more",
    "  100× port 0 in use   web-0 web-30 web-60 and 97 more   and 2 other causes",
    "  Ctrl-C detaches; the work goes on",
  ]);
  expect(progressWord(progress)).toBe("deploy api generation 41: 2100/3000 ended, ok 1800, failed 300, open 900");
});

test("more rows than one question takes are asked for in several, and never those that have ended", async () => {
  const many = Array.from({ length: 450 }, (_, i) => i + 1);
  api.on("redeployDeployment", { status: 202, body: accepted(...many) });
  let look = 0;
  api.on("listLifecycle", ({ query }) => {
    const ids = query["ids"]!.split(",");
    expect(ids.length).toBeLessThanOrEqual(200);
    look += 1;
    return { body: rowList(...ids.map((id) => row(Number(id.slice(-12)), look > 3 || id.endsWith("0") === false ? {} : { status: "running", ...open }))) };
  });
  expect((await skep(redeploy, { url: api.url, clock: hastyClock() })).code).toBe(0);
  expect(look).toBe(4);
});

/** A rollout of three placements; `states` are theirs in order, those that are not `waiting` have rows 1, 2, 3. */
const rolloutOf = (status: string, states: readonly string[], over: object = {}): object => {
  const count = (state: string): number => states.filter((one) => one === state).length;
  return {
    id: uuid(700), deployment_id: uuid(900), deployment: "web", action: "redeploy", status, generation: 3, base_generation: 2, rollback_generation: null,
    policy: { max_parallel: 1, min_healthy_s: 0, progress_deadline_s: 600, canary: 0, auto_promote: true, auto_rollback: true }, components: null, wave: states.filter((one) => one !== "waiting").length, waves: 3,
    counts: { total: states.length, waiting: count("waiting"), open: count("open"), passed: count("passed"), refused: count("refused"), skipped: count("skipped"), leaving: count("leaving"), taken_back: 0, left: 0 }, because: "wave 1 is open",
    placements: states.map((state, i) => ({ placement_id: uuid(501 + i), host_id: uuid(101 + i), host: `host-${i + 1}`, state, arriving: state === "open", wave: state === "waiting" ? null : i + 1, lifecycle_id: state === "waiting" ? null : uuid(i + 1), rollback: null, rollback_lifecycle_id: null, because: null })),
    created_at: "2026-11-20T20:00:00.000Z", updated_at: "2026-11-20T20:00:00.000Z", completed_at: null, waiting_for: "host-1: it is deploying", ...over,
  };
};
const rolling = (): void => api.on("redeployDeployment", { status: 202, body: { ...accepted(1), rollout_id: uuid(700) } });

test("the wait is for the whole rollout: its later waves' rows are followed too", async () => {
  rolling();
  let looks = 0;
  api.on("getRollout", () => {
    looks += 1;
    return { body: looks < 3 ? rolloutOf("running", ["passed", "waiting", "waiting"]) : looks < 5 ? rolloutOf("running", ["passed", "open", "waiting"]) : rolloutOf("succeeded", ["passed", "passed", "passed"]) };
  });
  api.on("listLifecycle", ({ query }) => ({ body: rowList(...[row(1), row(2), row(3)].filter((item) => query["ids"]!.includes(item.id))) }));
  const ran = await skep(redeploy, { url: api.url, clock: hastyClock() });
  expect(ran.code).toBe(0);
  expect(looks).toBe(5);
  expect(ran.out).toContain("redeploy web generation 3: succeeded on 3 hosts");
  expect(ran.err).toContain("redeploy web generation 3: 1/3, ok 1, failed 0, open 1, waiting 1; wave 2/3");
});

test.each([
  ["rolled_back", ["refused", "waiting", "waiting"], { rollback_generation: 4, because: "wave 1 did not pass: host-1: probe: 503" }, 6, "rolled back to the spec of generation 2\n  because: wave 1 did not pass: host-1: probe: 503"],
  ["failed", ["refused", "waiting", "waiting"], { because: "auto_rollback is off" }, 6, "failed\n  because: auto_rollback is off"],
  ["paused", ["passed", "waiting", "waiting"], { because: "the canary passed" }, 7, "paused: the canary passed"],
  ["superseded", ["passed", "waiting", "waiting"], {}, 5, "superseded"],
  ["running", ["passed", "open", "waiting"], {}, 8, ""],
] as const)("a rollout that is %s has its exit code and its words", async (status, states, over, exit, words) => {
  rolling();
  api.on("getRollout", { body: rolloutOf(status, states, over) });
  api.on("listLifecycle", ({ query }) => ({ body: rowList(...[row(1, status === "rolled_back" ? { status: "failed", error: "probe: 503" } : {}), row(2)].filter((item) => query["ids"]!.includes(item.id))) }));
  const ran = await skep([...redeploy, "--timeout", "20"], { url: api.url, clock: hastyClock() });
  expect(ran.code).toBe(exit);
  expect(ran.out).toContain(words);
  if (status === "paused") expect(ran.err).toContain("skep rollout resume web");
  if (status === "running") expect(ran.err).toContain("skep rollout abort web");
});

test("on a terminal a rollout has the same four lines, and says in which wave it is", () => {
  const rollout = rolloutOf("running", ["passed", "open", "waiting"]) as NonNullable<Parameters<typeof progressLines>[0]["rollout"]>;
  const lines = progressLines({ title: "redeploy web generation 3", ids: [], rows: new Map(), tally: tallyRows([], new Map()), rollout, elapsedMs: 2_000, trouble: undefined }).map((line) => renderLine(line, false, 120));
  expect(lines).toHaveLength(4);
  expect(lines[0]).toBe("redeploy web generation 3  wave 2/3  ▕█████░░░░░░░░░░░▏  1/3  ok 1  failed 0  open 1  waiting 1  2s");
  expect(lines[1]).toBe("  now   host-1: it is deploying");
});

test("rollout status, pause, resume, abort: what the API says, and what is said to it", async () => {
  api.on("getDeployment", { body: { ...detail("web", [placement(1)]), rollout: rolloutOf("paused", ["passed", "waiting", "waiting"]) } });
  api.on("getRollout", { body: rolloutOf("paused", ["passed", "waiting", "waiting"]) });
  const shown = await skep(["rollout", "status", "web"], { url: api.url });
  expect(shown).toMatchObject({ code: 0, err: "" });
  for (const words of ["paused", "host-1: it is deploying", "wave         1 of about 3", "max parallel 1"]) expect(shown.out.replace(/ +/g, " ")).toContain(words.replace(/ +/g, " "));
  api.on("getRollout", { body: rolloutOf("running", ["passed", "open", "leaving"]) });
  const other = await skep(["rollout", "status", "web"], { url: api.url });
  expect(other.out).toContain("0 skipped; 1 to leave once all have passed");
  expect(other.out).toMatch(/host-2 +2 +open +yes/);
  for (const [status, over] of [["rolling_back", { rollback_generation: 4 }], ["failed", {}]] as const) {
    api.on("getRollout", { body: rolloutOf(status, ["passed", "refused", "leaving"], over) });
    expect((await skep(["rollout", "status", "web"], { url: api.url })).out).toContain("1 that were to leave stay");
  }
  for (const [word, route] of [["pause", "pauseRollout"], ["resume", "resumeRollout"], ["abort", "abortRollout"]] as const) {
    api.on(route, { body: { rollout_id: uuid(700), deployment_id: uuid(900), status: "paused", because: `${word}d by token:x` } });
    expect(await skep(["rollout", word, "web"], { url: api.url })).toMatchObject({ code: 0, out: `rollout of web: paused  ${word}d by token:x\n` });
  }
  api.on("getDeployment", { body: detail("web", []) });
  expect((await skep(["rollout", "status", "web"], { url: api.url })).code).toBe(3);
});

test("how carefully is said in flags, and sent as the API has it", async () => {
  api.on("redeployDeployment", { status: 202, body: accepted(1) });
  await skep([...redeploy, "--no-wait", "--max-parallel", "50%", "--min-healthy", "30s", "--progress-deadline", "5m", "--canary", "1", "--no-auto-promote", "--no-auto-rollback", "--order", "start_first"], { url: api.url });
  expect(api.seen.at(-1)!.body).toEqual({ rollout: { max_parallel: "50%", min_healthy_s: 30, progress_deadline_s: 300, canary: 1, auto_promote: false, auto_rollback: false, order: "start_first" } });
  await skep([...redeploy, "--no-wait", "--max-parallel", "3"], { url: api.url });
  expect(api.seen.at(-1)!.body).toEqual({ rollout: { max_parallel: 3 } });
  for (const bad of ["0", "101%", "0%", "half"]) expect((await skep([...redeploy, "--max-parallel", bad], { url: api.url })).code).toBe(2);
});
