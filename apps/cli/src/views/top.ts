/** Hosts as `skep top` shows them: one row each, what says least given up first where the terminal is narrow. */
import type { HostHealthJson } from "@skep/protocol";
import { toned, type Bit, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatDuration, formatLatency } from "../text/time.ts";
import { circuitWord, state } from "./tones.ts";

export const topTable = (hosts: readonly HostHealthJson[], columns: number | undefined): Line[] =>
  renderTable(hosts, [
    { title: "NAME", cell: (host) => host.name, gives: true, leastColumns: 16 },
    { title: "LIVENESS", cell: (host) => state(host.status) },
    { title: "REACH", cell: (host) => state(host.reachability.state), drops: 7 },
    { title: "CIRCUIT", cell: (host) => (host.breaker === null ? "" : circuitWord(host.breaker.state)), drops: 5 },
    { title: "BEAT", cell: (host) => (host.liveness.age_ms === null ? "never" : formatDuration(host.liveness.age_ms)), align: "right", drops: 8 },
    { title: "PLACED", cell: placed, align: "right", drops: 6 },
    { title: "ERR %", cell: errorShare, align: "right", drops: 4 },
    { title: "AVG", cell: (host) => formatLatency(host.metrics?.avg_latency_ms ?? null), align: "right", drops: 3 },
    { title: "P99", cell: (host) => formatLatency(host.metrics?.p99_latency_ms ?? null), align: "right", drops: 2 },
    { title: "REASON", cell: (host) => host.reasons[0]?.message ?? "", gives: true, leastColumns: 16, drops: 1 },
  ], columns);

function placed({ placements: { total, running, degraded, failed, unknown } }: HostHealthJson): Bit {
  if (total === 0) return "";
  const text = `${running}/${total ?? "?"}`;
  return failed > 0 ? toned(text, "bad") : degraded + unknown > 0 ? toned(text, "warn") : text;
}

/** Without a call there is no share. */
function errorShare({ metrics }: HostHealthJson): Bit {
  if (metrics === null || metrics.total_requests === 0) return "";
  const text = (100 * metrics.error_rate).toFixed(1);
  return metrics.failed_requests > 0 ? toned(text, "warn") : text;
}
