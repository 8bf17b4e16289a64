/** Drift and orphans: wanted beside observed, and what is done about it. */
import type { Instant } from "@skep/core";
import type { DriftJson, OrphanJson } from "@skep/protocol";
import { toned, type Line, type Toned } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge, formatDuration } from "../text/time.ts";
import { state } from "./tones.ts";

export const driftTable = (rows: readonly DriftJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(rows, [
    { title: "DEPLOYMENT", cell: (row) => row.deployment },
    { title: "HOST", cell: (row) => row.host },
    { title: "WANTED", cell: (row) => `${row.wanted.state} ${row.wanted.generation}` },
    { title: "OBSERVED", cell: (row) => state(row.observed.state) },
    { title: "SINCE", cell: (row) => formatAge(row.since, now), align: "right" },
    { title: "ACTION", cell: (row) => actionOf(row, now) },
    { title: "DIFFERS", cell: (row) => `${row.differences.join("; ")} (${row.because})`, gives: true },
  ], columns);

export const orphanTable = (rows: readonly OrphanJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(rows, [
    { title: "HOST", cell: (row) => row.host },
    { title: "DEPLOYMENT", cell: (row) => row.deployment },
    { title: "STATE", cell: (row) => state(row.state) },
    { title: "AGE", cell: (row) => formatAge(row.since, now), align: "right" },
    { title: "PLACEMENT", cell: (row) => row.placement_id },
    { title: "COMPONENTS", cell: (row) => row.components.join(", "), gives: true },
  ], columns);

function actionOf({ action, repair_at: repairAt }: DriftJson, now: Instant): Toned {
  switch (action) {
    case "repair": {
      const leftMs = repairAt === null ? 0 : Date.parse(repairAt) - now;
      return toned(leftMs > 0 ? `repair in ${formatDuration(leftMs)}` : "repair now", "warn");
    }
    case "report_only":
      return toned("reported only", "dim");
    case "given_up":
      return toned("given up", "bad");
  }
}
