/** Alerts as blocks, because what to do next must not be cut; webhooks and deliveries as tables. */
import type { Instant } from "@skep/core";
import type { AlertJson, WebhookDeliveryJson, WebhookListJson } from "@skep/protocol";
import { toned, type Bit, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge } from "../text/time.ts";
import { state } from "./tones.ts";

export function alertLines(alert: AlertJson, now: Instant): Line[] {
  const fires = alert.state === "firing";
  const head: Bit[] = [
    fires ? { text: alert.severity.toUpperCase(), tone: state(alert.severity).tone } : toned("resolved", "good"), "  ", toned(alert.title, "bold"),
    `  ${formatAge(fires ? alert.first_at : alert.resolved_at, now)}${fires ? "" : " ago"}`, ...(alert.count > 1 ? [`  ${alert.count} times`] : []),
    ...(alert.acknowledged_at === null ? [] : [toned(`  acknowledged by ${alert.acknowledged_by ?? "?"}`, "dim")]),
  ];
  return [
    head,
    `  ${alert.message}`,
    ...(fires ? [`  next: ${alert.next}`] : [toned(`  over: ${alert.resolved_because ?? ""}`, "dim")]),
    toned(`  ${alert.id}`, "dim"),
  ];
}

export const webhookTable = (rows: WebhookListJson["items"], columns: number | undefined): Line[] =>
  renderTable(rows, [
    { title: "NAME", cell: (row) => row.name },
    { title: "STATE", cell: (row) => (row.enabled ? toned("enabled", "good") : toned("disabled", "dim")) },
    { title: "FROM", cell: (row) => row.min_severity },
    { title: "PENDING", cell: (row) => String(row.deliveries.pending), align: "right" },
    { title: "DEAD", cell: (row) => (row.deliveries.dead === 0 ? "0" : toned(String(row.deliveries.dead), "bad")), align: "right" },
    { title: "KINDS", cell: (row) => (row.kinds.length === 0 ? "all" : row.kinds.join(" ")), gives: true },
    { title: "RECEIVER", cell: (row) => row.url, gives: true },
  ], columns);

export const deliveryTable = (rows: readonly WebhookDeliveryJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(rows, [
    { title: "ID", cell: (row) => row.id },
    { title: "AGE", cell: (row) => formatAge(row.created_at, now), align: "right" },
    { title: "TYPE", cell: (row) => row.type.replace(/^alert\./, "") },
    { title: "STATUS", cell: (row) => state(row.status) },
    { title: "TRY", cell: (row) => String(row.attempt), align: "right" },
    { title: "ERROR", cell: (row) => row.last_error ?? "", gives: true },
  ], columns);
