/** Deployments, as a list and one by one. */
import type { Instant } from "@skep/core";
import type { DeploymentJson, deploymentDetail } from "@skep/protocol";
import { toned, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge, formatTime } from "../text/time.ts";
import { factLines, labelText } from "./hosts.ts";
import { placementTable } from "./placements.ts";
import { state } from "./tones.ts";

export type DeploymentDetail = ReturnType<(typeof deploymentDetail)["parse"]>;

export const deploymentTable = (deployments: readonly DeploymentJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(deployments, [
    { title: "NAME", cell: (row) => row.name },
    { title: "STATUS", cell: (row) => state(row.status) },
    { title: "WANTED", cell: (row) => row.desired },
    { title: "GEN", cell: (row) => String(row.generation), align: "right" },
    { title: "WHERE", cell: whereOf, gives: true },
    { title: "CHANGED", cell: (row) => formatAge(row.updated_at, now), align: "right" },
    { title: "LAST ERROR", cell: (row) => row.last_error ?? "", gives: true },
  ], columns);

function whereOf({ placement: { strategy, hosts, replicas, constraints } }: DeploymentJson): string {
  const count = replicas === 1 || (replicas === undefined && strategy !== undefined) ? "1 host" : replicas === undefined ? "" : `${replicas} hosts`;
  const where = hosts === undefined ? count : strategy === "ordered" ? `${count}, the first of ${hosts.join(" ")}` : hosts.join(" ");
  const how = strategy === undefined || strategy === "ordered" ? where : `${where}, ${strategy}`;
  return constraints === undefined || Object.keys(constraints).length === 0 ? how : `${how} with ${labelText(Object.fromEntries(Object.entries(constraints).map(([key, value]) => [key, [value].flat().join("|")])))}`;
}

const SHOWN_GENERATIONS = 5;

export function deploymentLines(detail: DeploymentDetail, columns: number | undefined): Line[] {
  const { counts, generations } = detail;
  const newest = generations.slice(-SHOWN_GENERATIONS).reverse().map((item) => `${item.generation} (${formatTime(item.created_at)})`).join("  ");
  return [
    ...factLines([
      ["name", toned(detail.name, "bold")],
      ["id", detail.id],
      ["status", state(detail.status)],
      ["wanted", `${detail.desired}, generation ${detail.generation}`],
      ["where", whereOf(detail)],
      ["fallbacks", detail.failover.fallbacks.join(" ")],
      ["reconcile", detail.reconcile],
      ["placements", `${counts.succeeded} succeeded, ${counts.failed} failed, ${counts.pending} pending`],
      ["rollout", detail.rollout === null ? null : `${detail.rollout.status}, generation ${detail.rollout.generation}, wave ${detail.rollout.wave} of about ${detail.rollout.waves}: ${detail.rollout.because}`],
      ["last error", detail.last_error],
      ["generations", generations.length > SHOWN_GENERATIONS ? `${newest}  and ${generations.length - SHOWN_GENERATIONS} older` : newest],
      ["torn down", formatTime(detail.deleted_at)],
    ]),
    ...(detail.placements.length === 0 ? [] : ["", ...placementTable(detail.placements, columns)]),
  ];
}
