/** What a running job is at, in words: the same in lists, in explain and in events. */
import type { Instant } from "../time.ts";
import type { LifecycleRow } from "./row.ts";

const PHASE_WORDS: Readonly<Record<string, string>> = {
  look: "looking", prepare: "pulling and preparing", start: "starting", healthy: "waiting for health", stop: "stopping", remove: "removing",
};

/** undefined = its agent says nothing of it. A phase that is not ours is given as the agent said it. */
export function progressWords(row: Pick<LifecycleRow, "status" | "jobPhase" | "progressAt">, now: Instant): string | undefined {
  const { status, jobPhase, progressAt } = row;
  if (status !== "running" || (jobPhase === undefined && progressAt === undefined)) return undefined;
  const doing = jobPhase === undefined ? "working" : (PHASE_WORDS[jobPhase] ?? jobPhase);
  return progressAt === undefined ? doing : `${doing}, last progress ${Math.round(Math.max(0, now - progressAt) / 1000)} s ago`;
}
