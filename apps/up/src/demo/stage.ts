/**
 * The stage of the tour: a real `skep up` as a child, driven like any script would drive it (its JSON line, up.json and
 * the public API), and three independent witnesses: HTTP answers of the workloads, /proc, and the agents' starts.log.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { acceptedOperation, lifecycleList, placementList, rolloutDetail } from "@skep/protocol";
import type { AcceptedOperation, DeployRequest, LifecycleJson, PlacementJson } from "@skep/protocol";
import { isTerminal } from "@skep/core";
import type { Clock } from "@skep/core";
import { createApi } from "../api.ts";
import type { Api } from "../api.ts";
import type { UpFacts } from "../facts.ts";
import { readJson } from "../files.ts";
import { layoutOf } from "../layout.ts";
import type { Layout } from "../layout.ts";
import { awaitSight, DemoFailure, expectThat } from "./check.ts";

export const HEARTBEAT_INTERVAL_MS = 1_000;
const UP_PROGRAM = fileURLToPath(new URL("../../bin/skep-up.js", import.meta.url));
/** Only a bound for failure: a busy machine takes many times what an idle one does. */
export const SIGHT_TIMEOUT_MS = 60_000;

export interface Start {
  readonly job: string;
  readonly component: string;
  readonly count: number;
  readonly pid?: number;
}

export interface Stage {
  readonly layout: Layout;
  readonly api: Api;
  /** As up.json says now: pids change when the supervisor restarts somebody. */
  facts(): UpFacts;
  deploy(request: DeployRequest): Promise<AcceptedOperation>;
  /** Waits until every row has its end. */
  rowsEnded(accepted: AcceptedOperation): Promise<LifecycleJson[]>;
  rows(query: string): Promise<LifecycleJson[]>;
  placements(deployment: string): Promise<PlacementJson[]>;
  /** What each workload of a deployment answers over HTTP, by host. */
  answers(deployment: string): Promise<Map<string, { readonly greeting: string; readonly pid: number }>>;
  /** What was actually started for a placement, by the runner's own record. */
  starts(placement: PlacementJson): Start[];
  /** A file that a workload waits for the end of. */
  hold(name: string): { readonly path: string; release(): void };
  /** Resolves with how the supervisor ended, when it does. */
  readonly ended: Promise<string>;
  stop(): Promise<number | null>;
  killNow(): void;
}

export async function openStage(stateDir: string, env: Readonly<Record<string, string>>, clock: Clock): Promise<Stage> {
  const layout = layoutOf(stateDir);
  const argv = [UP_PROGRAM, "--json", "--no-sample", "--state-dir", stateDir, "--agents", "2", "--heartbeat-interval-ms", String(HEARTBEAT_INTERVAL_MS)];
  for (const port of ["api", "swarm", "enrol"]) argv.push(`--${port}-port`, "0");
  const up = spawn(process.execPath, argv, { stdio: ["pipe", "pipe", "pipe"], env: { ...env, SKEP_SUPERVISED: "1" }, detached: true });
  const ended = new Promise<string>((resolve) => up.once("exit", (code, signal) => resolve(signal === null ? `it ended with ${code}` : `it was killed by ${signal}`)));
  const first = await firstLine(up, clock);
  const facts = (): UpFacts => (readJson(layout.facts) ?? first) as UpFacts;
  const api = createApi({ url: () => first.api_url, token: () => first.token, clock, patienceMs: 15_000 });

  const rows: Stage["rows"] = async (query) => lifecycleList.parse(await api.get(`/v1/lifecycle?${query}`)).items;
  const placements: Stage["placements"] = async (deployment) => placementList.parse(await api.get(`/v1/placements?deployment=${deployment}`)).items;
  const rowsEnded: Stage["rowsEnded"] = (accepted) => {
    const first = accepted.placements.flatMap(({ lifecycle_id: id }) => (id === null ? [] : [id]));
    /** A change in place opens its later rows wave by wave. */
    const opened = async (): Promise<{ ids: readonly string[]; over: boolean }> => {
      if (accepted.rollout_id === null) return { ids: first, over: true };
      const rollout = rolloutDetail.parse(await api.get(`/v1/rollouts/${accepted.rollout_id}`));
      return { ids: [...new Set([...first, ...rollout.placements.flatMap((item) => item.lifecycle_id ?? [])])], over: rollout.completed_at !== null };
    };
    return awaitSight(clock, {
      expected: `an end of every row of ${accepted.name}`,
      timeoutMs: SIGHT_TIMEOUT_MS,
      look: async (saw) => {
        const { ids, over } = await opened();
        const found = await rows(`ids=${ids.join(",")}`);
        saw(found.map((row) => `${row.host}: ${row.operation} ${row.status}/${row.phase}`).join(", "));
        return over && found.length === ids.length && found.every((row) => isTerminal(row.status)) ? found : undefined;
      },
    });
  };
  const answers: Stage["answers"] = async (deployment) => {
    const found = await Promise.all(
      (await placements(deployment)).map(async (placement) => {
        const port = placement.observed?.components[0]?.ports?.["http"];
        expectThat(port !== undefined, `a port of ${deployment} on ${placement.host}`, placement.because);
        const [greeting = "", pid = ""] = (await fetchText(`http://127.0.0.1:${port}/`)).split(" ");
        return [placement.host, { greeting, pid: Number(pid) }] as const;
      }),
    );
    return new Map(found);
  };
  const starts: Stage["starts"] = (placement) => {
    let text = "";
    try {
      text = readFileSync(join(layout.agentState(placement.host), "workloads", "placements", placement.id, "starts.log"), "utf8");
    } catch {
      // Nothing was ever started there.
    }
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Start);
  };
  const hold: Stage["hold"] = (name) => {
    const path = join(stateDir, `hold-${name}`);
    writeFileSync(path, "");
    return { path, release: () => rmSync(path, { force: true }) };
  };
  const stop: Stage["stop"] = async () => {
    up.kill("SIGTERM");
    return awaitSight(clock, { expected: "skep up to end after SIGTERM", timeoutMs: SIGHT_TIMEOUT_MS, look: () => (up.exitCode ?? up.signalCode) === null ? undefined : { code: up.exitCode } }).then(({ code }) => code);
  };
  const killNow = (): void => {
    // The end of its stdin tells it that we are gone.
    up.stdin!.destroy();
    up.kill("SIGTERM");
  };
  return { layout, api, facts, deploy: async (request) => acceptedOperation.parse(await api.post("/v1/deployments", request)), rowsEnded, rows, placements, answers, starts, hold, ended, stop, killNow };
}

async function firstLine(up: ChildProcess, clock: Clock): Promise<UpFacts> {
  let line: string | undefined;
  let told = "";
  up.stdin!.on("error", () => undefined);
  up.stderr!.on("data", (chunk: Buffer) => (told += chunk.toString()));
  createInterface({ input: up.stdout! }).once("line", (text) => (line = text));
  const text = await awaitSight(clock, {
    expected: "skep up to be ready",
    timeoutMs: SIGHT_TIMEOUT_MS,
    look: (saw) => {
      saw(told);
      if (up.exitCode !== null) throw new DemoFailure("skep up to be ready", `it ended with ${up.exitCode}: ${told}`);
      return line;
    },
  });
  return JSON.parse(text) as UpFacts;
}

function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, timeout: 2_000 }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.once("end", () => resolve(text));
      response.once("error", reject);
    });
    request.once("timeout", () => request.destroy(new Error(`${url} does not answer`)));
    request.once("error", reject);
  });
}
