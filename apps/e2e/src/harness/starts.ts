/** Counts effects: every real start of a component appends a line to a `starts.log` under the agent's state. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Start {
  readonly placement: string;
  readonly component: string;
  readonly job: string;
  readonly generation: number;
}

export function readStarts(stateDir: string): Start[] {
  const files = readdirSync(stateDir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("starts.log"));
  return files.flatMap((name) => readFileSync(join(stateDir, name), "utf8").split("\n").filter((line) => line !== "").map(parseStart));
}

function parseStart(line: string): Start {
  const parsed = JSON.parse(line) as Record<string, unknown>;
  return { placement: String(parsed["placement"]), component: String(parsed["component"]), job: String(parsed["job"]), generation: Number(parsed["generation"]) };
}

/** (job, component) pairs that were started more than once by the agent, restarts by policy left out. */
export function startedTwice(starts: readonly Start[]): string[] {
  const counts = new Map<string, number>();
  for (const start of starts) {
    const key = `${start.job} ${start.component} ${start.placement}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].filter(([, count]) => count > 1).map(([key, count]) => `${key}: ${count} starts`);
}
