/** Hosts, as a list and one by one. */
import type { Instant } from "@skep/core";
import type { HostHealthJson, HostJson } from "@skep/protocol";
import { toned, type Bit, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge, formatDuration, formatTime } from "../text/time.ts";
import { state } from "./tones.ts";

export const labelText = (labels: Readonly<Record<string, string>>): string => Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(" ");

export const hostTable = (hosts: readonly HostJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(hosts, [
    { title: "NAME", cell: (host) => host.name },
    { title: "STATUS", cell: (host) => state(host.status) },
    { title: "HEARD", cell: (host) => formatAge(host.last_heartbeat_at, now), align: "right" },
    { title: "TAKES WORK", cell: (host) => (host.schedulable ? "yes" : toned("no", "warn")) },
    { title: "VERSION", cell: (host) => host.agent_version ?? "" },
    { title: "LABELS", cell: (host) => labelText(host.labels), gives: true },
    { title: "BECAUSE", cell: (host) => [bootNews(host.boot), host.status_because ?? ""].filter((text) => text !== "").join("; "), gives: true },
  ], columns);

const BOOT_TONES = { waiting: "warn", starting: "warn", blocked: "bad", degraded: "warn", complete: "good" } as const;

/** A boot that went well is no news in a list. */
const bootNews = (boot: HostJson["boot"]): string => (boot === null || boot.state === "complete" ? "" : `boot ${boot.state}${boot.stage === null ? "" : ` at stage ${boot.stage}`}`);

function bootText(boot: HostJson["boot"]): Bit | null {
  if (boot === null) return null;
  const ill = boot.members.filter((member) => !member.healthy).map(({ name, error }) => `${name} (${error ?? "not healthy"})`).join(", ");
  return toned(`${boot.state}${boot.stage === null ? "" : ` at stage ${boot.stage}`}${ill === "" ? "" : `: ${ill}`}`, BOOT_TONES[boot.state]);
}

/** `name  value`, aligned; entries without a value are left out. */
export function factLines(facts: readonly (readonly [string, Bit | null])[]): Line[] {
  const shown = facts.filter((fact): fact is readonly [string, Bit] => fact[1] !== null && fact[1] !== "");
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => [toned(name.padEnd(width), "dim"), "  ", value]);
}

export const hostFacts = (host: HostJson): Line[] =>
  factLines([
    ["name", toned(host.name, "bold")],
    ["id", host.id],
    ["status", state(host.status)],
    ["because", host.status_because],
    ["boot", bootText(host.boot)],
    ["takes work", host.schedulable ? "yes" : toned("no: cordoned", "warn")],
    ["labels", labelText(host.labels)],
    ["address", host.address],
    ["agent", host.agent_url],
    ["version", host.agent_version],
    ["notes", host.notes],
    ["created", formatTime(host.created_at)],
    ["enrolled", formatTime(host.enrolled_at)],
    ["decommissioned", formatTime(host.decommissioned_at)],
  ]);

export function healthLines(health: HostHealthJson): Line[] {
  const { liveness, reachability, breaker, metrics, placements, cert } = health;
  const placed = Object.entries(placements).filter(([, count]) => count > 0).map(([word, count]) => `${count} ${word}`).join(", ");
  return [
    ...factLines([
      ["health", state(health.health)],
      ["heartbeat", liveness.age_ms === null ? "never" : `${formatDuration(liveness.age_ms)} ago, ${liveness.missed} missed`],
      ["agent phase", liveness.phase],
      ["boot", bootText(health.boot)],
      ["reachability", [reachability.state, reachability.last_error].filter((part) => part !== null).join(": ")],
      ["circuit", breaker === null ? null : breaker.state === "closed" ? "closed" : toned([breaker.state, breaker.because].filter((part) => part !== null).join(": "), "bad")],
      ["calls", metrics === null ? null : callsText(metrics)],
      ["placements", placed === "" ? "none" : placed],
      ["certificate", cert === null ? null : `until ${formatTime(cert.not_after)}  sha256:${cert.sha256.slice(0, 16)}…`],
    ]),
    ...reasonLines(health.reasons),
  ];
}

/** What this master's calls to it came to lately. */
const callsText = ({ window_s, total_requests, error_rate, avg_latency_ms, p99_latency_ms }: NonNullable<HostHealthJson["metrics"]>): string =>
  total_requests === 0 ? `none in the last ${formatDuration(window_s * 1_000)}`
    : `${total_requests} in ${formatDuration(window_s * 1_000)}, ${(100 * error_rate).toFixed(1)} % failed, avg ${Math.round(avg_latency_ms ?? 0)} ms, p99 ${Math.round(p99_latency_ms ?? 0)} ms`;

/** The same words as the API's, with what to do next below each. */
export const reasonLines = (reasons: readonly { readonly code: string; readonly message: string; readonly next: string }[]): Line[] =>
  reasons.flatMap((reason): Line[] => [["  ", toned(reason.code, "warn"), `: ${reason.message}`], toned(`    next: ${reason.next}`, "dim")]);
