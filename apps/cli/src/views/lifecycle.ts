/** Lifecycle rows: one attempt at one operation on one host, each with what is known of its end. */
import { instant, progressWords, type Instant } from "@skep/core";
import type { LifecycleJson } from "@skep/protocol";
import { toned, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge, formatDuration, formatTime } from "../text/time.ts";
import { factLines } from "./hosts.ts";
import { state } from "./tones.ts";

export const lifecycleTable = (rows: readonly LifecycleJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(rows, [
    { title: "ID", cell: (row) => row.id },
    { title: "AGE", cell: (row) => formatAge(row.started_at, now), align: "right" },
    { title: "OPERATION", cell: (row) => row.operation },
    { title: "DEPLOYMENT", cell: (row) => row.deployment },
    { title: "HOST", cell: (row) => row.host },
    { title: "STATUS", cell: (row) => state(row.status) },
    { title: "WHY", cell: (row) => whyOf(row, now), gives: true },
  ], columns);

/** What it is at and when it last moved; undefined = it does not run, or nothing is known of it. */
export function progressOf(row: LifecycleJson, now: Instant): string | undefined {
  const at = Date.parse(row.progress_at ?? "");
  return progressWords({ status: row.status, jobPhase: row.job_phase ?? undefined, progressAt: Number.isNaN(at) ? undefined : instant(at) }, now);
}

const whyOf = (row: LifecycleJson, now: Instant): string => {
  const doing = progressOf(row, now);
  if (doing !== undefined) return row.cancel_reason === null ? doing : `cancel asked for (${row.cancel_reason}); ${doing}`;
  const code = row.failure_code === null ? "" : `${row.failure_code}: `;
  const words = row.error ?? row.because ?? row.cancel_reason;
  return words === null ? (row.status === "pending" || row.status === "running" ? row.phase : code.replace(/: $/, "")) : code + words;
};

export const lifecycleFacts = (row: LifecycleJson, now: Instant): Line[] => [
  ...factLines([
    ["id", toned(row.id, "bold")],
    ["operation", `${row.operation} ${row.deployment} on ${row.host}, generation ${row.generation}, epoch ${row.epoch}`],
    ["status", state(row.status)],
    ["phase", row.phase],
    ["doing", progressOf(row, now) ?? null],
    ["failure", row.failure_code],
    ["error", row.error],
    ["because", row.because],
    ["cancelled", row.cancel_reason],
    ["retry of", row.retry_of],
    ["trace", row.trace_id ?? null],
    ["deliveries", String(row.dispatch_attempts)],
    ["accepted", formatTime(row.started_at)],
    ["sent", formatTime(row.sent_at)],
    ["running", formatTime(row.running_at)],
    ["ended", formatTime(row.completed_at)],
    ["agent's end", formatTime(row.agent_completed_at)],
  ]),
  ...row.steps.map((step): Line => ["  ", step.ok ? toned("ok    ", "good") : toned("failed", "bad"), `  ${formatDuration(step.ms).padStart(6)}  ${step.name}${step.error === undefined ? "" : `: ${step.error}`}`]),
];
