/** Counts effects: every real start of a component appends a line to a `starts.log` under the agent's state. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Start {
  readonly placement: string;
  readonly component: string;
  readonly job: string;
  readonly generation: number;
  /** 1 = the start itself, more = restarts by policy. */
  readonly count: number;
  /** Of the process driver. */
  readonly pid: number | undefined;
}

export function readStarts(stateDir: string): Start[] {
  const files = readdirSync(stateDir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("starts.log"));
  // What has no end yet is being written.
  return files.flatMap((name) => readFileSync(join(stateDir, name), "utf8").split("\n").slice(0, -1).map(parseStart));
}

function parseStart(line: string): Start {
  const parsed = JSON.parse(line) as Record<string, unknown>;
  return { placement: String(parsed["placement"]), component: String(parsed["component"]), job: String(parsed["job"]), generation: Number(parsed["generation"]), count: Number(parsed["count"] ?? 1), pid: typeof parsed["pid"] === "number" ? parsed["pid"] : undefined };
}

/**
 * (job, generation, component) that were started more than once by the agent, restarts by policy left out. The
 * generation is part of it because a rollback starts what was there before under the failing job's id.
 */
export function startedTwice(starts: readonly Start[]): string[] {
  const counts = new Map<string, number>();
  for (const start of starts) {
    if (start.count > 1) continue;
    const key = `${start.job} generation ${start.generation} ${start.component} ${start.placement}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].filter(([, count]) => count > 1).map(([key, count]) => `${key}: ${count} starts`);
}
