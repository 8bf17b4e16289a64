/** What an operation would do. */
import type { operationPlan } from "@skep/protocol";
import { toned, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";

export type OperationPlan = ReturnType<(typeof operationPlan)["parse"]>;

export const hasChanges = (plan: OperationPlan): boolean => plan.hosts.some((host) => host.plan.some((step) => step.action !== "keep") || host.warnings.length > 0);

const SHOWN_WAVES = 8;
const NAMED_HOSTS = 6;
const worded = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

export function planLines(plan: OperationPlan, columns: number | undefined): Line[] {
  const steps = plan.hosts.flatMap((host) => (host.plan.length === 0 ? [{ host: host.host, component: "", action: "" }] : host.plan.map((step) => ({ host: host.host, ...step }))));
  const waves = plan.rollout?.waves ?? [];
  const warnings = [...plan.warnings, ...plan.hosts.flatMap((host) => host.warnings.map((warning) => `${host.host}: ${warning}`))];
  return [
    [toned(`${plan.name} generation ${plan.generation}`, "bold"), ` on ${plan.hosts.length === 1 ? "1 host" : `${plan.hosts.length} hosts`}; a plan, nothing was changed`],
    ...(steps.length === 0 ? [] : renderTable(steps, [
      { title: "HOST", cell: (row) => row.host },
      { title: "COMPONENT", cell: (row) => row.component },
      { title: "ACTION", cell: (row) => (row.action === "keep" ? toned(row.action, "dim") : row.action === "" ? "" : toned(row.action, row.action === "create" ? "good" : "warn")) },
    ], columns)),
    ...plan.changes.map(({ path, from, to }): Line => (from === null ? [toned("  + ", "good"), `${path}: ${worded(to)}`] : to === null ? [toned("  - ", "bad"), `${path}: ${worded(from)}`] : [toned("  ~ ", "warn"), `${path}: ${worded(from)} → ${worded(to)}`])),
    ...waves.slice(0, SHOWN_WAVES).map((wave, index): Line => `wave ${index + 1}  ${wave.slice(0, NAMED_HOSTS).map((host) => host.host).join(" ")}${wave.length > NAMED_HOSTS ? ` and ${wave.length - NAMED_HOSTS} more` : ""}`),
    ...(waves.length > SHOWN_WAVES ? [`and ${waves.length - SHOWN_WAVES} more waves`] : []),
    ...plan.rejected.map((item): Line => [toned("rejected", "warn"), ` ${item.host}: ${item.because}`]),
    ...warnings.map((warning): Line => [toned("warning", "warn"), `: ${warning}`]),
  ];
}
