/** Hosts, as a list and one by one. */
import type { Instant } from "@skep/core";
import type { HostHealthJson, HostJson } from "@skep/protocol";
import { toned, type Bit, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge, formatDuration, formatLatency, formatTime } from "../text/time.ts";
import { state } from "./tones.ts";

export const labelText = (labels: Readonly<Record<string, string>>): string => Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(" ");

export const hostTable = (hosts: readonly HostJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(hosts, [
    { title: "NAME", cell: (host) => host.name },
    { title: "STATUS", cell: (host) => state(host.status) },
    { title: "REACH", cell: (host) => (host.reachability === null ? "" : state(host.reachability)) },
    { title: "HEARD", cell: (host) => formatAge(host.last_heartbeat_at, now), align: "right" },
    { title: "TAKES WORK", cell: (host) => (host.schedulable ? "yes" : toned("no", "warn")) },
    { title: "VERSION", cell: (host) => host.agent_version ?? "", drops: 1 },
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
  return [
    ...factLines([
      ["health", state(health.health)],
      ["heartbeat", liveness.age_ms === null ? "never" : `${formatDuration(liveness.age_ms)} ago, ${liveness.missed} missed`],
      ["agent phase", liveness.phase],
      ["boot", bootText(health.boot)],
      ["reachability", reachText(reachability)],
      ["circuit", breaker === null ? null : circuitText(breaker)],
      ["calls", metrics === null ? null : callsText(metrics)],
      ["placements", placedText(placements)],
      ["certificate", cert === null ? null : `until ${formatTime(cert.not_after)}  sha256:${cert.sha256.slice(0, 16)}…`],
    ]),
    ...reasonLines(health.reasons),
  ];
}

function placedText({ total, ...states }: HostHealthJson["placements"]): string {
  const words = Object.entries(states).filter(([, count]) => count > 0).map(([word, count]) => `${count} ${word}`).join(", ");
  if (total === null) return words === "" ? "none" : words;
  return total === 0 ? "none" : `${total}${words === "" ? "" : ` (${words})`}`;
}

const since = (time: string | null): string => (time === null ? "" : ` since ${formatTime(time)}`);

function reachText({ state: word, since: at, consecutive_failures, last_ok_at, last_error, flapping }: HostHealthJson["reachability"]): Bit {
  const failures = consecutive_failures ?? 0;
  const parts = [
    `${word}${since(at)}`,
    flapping ? "comes and goes" : "",
    failures === 0 ? "" : `${failures} ${failures === 1 ? "probe" : "probes"} failed${last_ok_at === null ? "" : `, the last answer was at ${formatTime(last_ok_at)}`}`,
    failures === 0 ? "" : (last_error ?? ""),
  ].filter((part) => part !== "").join("; ");
  return word === "unreachable" ? toned(parts, "bad") : flapping || failures > 0 ? toned(parts, "warn") : parts;
}

function circuitText({ state: word, opened_at, retry_at, cause, because }: NonNullable<HostHealthJson["breaker"]>): Bit {
  if (word === "closed") return word;
  const next = retry_at !== null ? `tries again at ${formatTime(retry_at)}` : cause === "identity" ? "closed only by a reset, a new certificate or a new address" : "";
  return toned([`${word}${since(opened_at)}`, next, because ?? ""].filter((part) => part !== "").join("; "), "bad");
}

/** What this master's calls to it came to lately. */
const callsText = ({ window_s, total_requests, failed_requests, error_rate, avg_latency_ms, p99_latency_ms }: NonNullable<HostHealthJson["metrics"]>): string =>
  total_requests === 0 ? `none in the last ${formatDuration(window_s * 1_000)}`
    : [
      `${total_requests} in ${formatDuration(window_s * 1_000)}`,
      failed_requests === 0 ? "none failed" : `${failed_requests} failed (${(100 * error_rate).toFixed(1)} %)`,
      ...(avg_latency_ms === null ? [] : [`avg ${formatLatency(avg_latency_ms)}`]),
      ...(p99_latency_ms === null ? [] : [`p99 ${formatLatency(p99_latency_ms)}`]),
    ].join(", ");

/** The same words as the API's, with what to do next below each. */
export const reasonLines = (reasons: readonly { readonly code: string; readonly message: string; readonly next: string; readonly since?: string | null }[]): Line[] =>
  reasons.flatMap((reason): Line[] => [["  ", toned(reason.code, "warn"), `: ${reason.message}`, toned(since(reason.since ?? null), "dim")], toned(`    next: ${reason.next}`, "dim")]);
