/** A real Prometheus on loopback with a store of its own, asked over its API. Ended by pid, at the latest with the test process. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { eventually, findPrometheus } from "@skep/testkit";
import { request } from "undici";

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus {
  readonly url: string;
  /** `data` of an answer. Throws what Prometheus says is wrong. */
  api(path: string): Promise<any>;
  /** An instant query. Throws for what is no PromQL. */
  query(expr: string): Promise<readonly Sample[]>;
  logs(): string;
  stop(): Promise<void>;
}

/** `dir` holds prometheus.yml and what it names. */
export async function startPrometheus(dir: string): Promise<Prometheus> {
  const tools = findPrometheus();
  if ("missing" in tools) throw new Error(tools.missing);
  const child = spawn(tools.prometheus, [
    `--config.file=${join(dir, "prometheus.yml")}`, `--storage.tsdb.path=${join(dir, "data")}`, "--storage.tsdb.retention.time=2h", "--web.listen-address=127.0.0.1:0",
  ], { cwd: dir, stdio: ["ignore", "pipe", "pipe"], env: {} });
  let logs = "";
  let code: number | null | undefined;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (logs += chunk.toString()));
  const exited = new Promise<void>((resolve) => child.once("close", (status) => {
    code = status;
    resolve();
  }));
  const atExit = (): void => void child.kill("SIGKILL");
  process.once("exit", atExit);
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
    process.removeListener("exit", atExit);
  };
  try {
    const address = await eventually(() => {
      if (code !== undefined) throw new Error(`prometheus ended with ${String(code)}:\n${logs}`);
      return /msg="Listening on" address=(\S+)/.exec(logs)?.[1];
    }, { what: "prometheus listens", timeoutMs: 60_000 });
    const url = `http://${address}`;
    const api = async (path: string): Promise<any> => {
      const { body } = await request(`${url}/api/v1${path}`, { headersTimeout: 30_000, bodyTimeout: 30_000 });
      const answer = (await body.json()) as { status: string; error?: string; data: unknown };
      if (answer.status !== "success") throw new Error(`${path}: ${answer.error ?? "no answer"}`);
      return answer.data;
    };
    return {
      url, api, stop, logs: () => logs,
      query: async (expr) => {
        const { result } = (await api(`/query?query=${encodeURIComponent(expr)}`)) as { result: { metric: Record<string, string>; value: [number, string] }[] };
        return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
