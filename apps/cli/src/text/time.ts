/** Durations and times, as typed and as shown. Ages are counted against the master's clock, not this machine's. */
import type { Instant } from "@skep/core";

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** "90", "90s", "15m", "1h30m", "24h", "30d" → seconds. undefined: not a duration. */
export function parseDurationS(text: string): number | undefined {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  if (!/^(\d{1,6}[smhd])+$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([smhd])/g)) seconds += Number(count) * UNITS[unit!]!;
  return seconds;
}

/** Two units at most: 480ms, 12s, 3m12s, 4h5m, 12d3h. */
export function formatDuration(ms: number): string {
  if (ms < 0) return "0s";
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  const seconds = Math.floor(ms / 1_000);
  const [d, h, m, s] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  const parts: [number, string][] = [[d, "d"], [h, "h"], [m, "m"], [s, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  return parts.slice(first, first + 2).filter(([count], index) => index === 0 || count > 0).map(([count, unit]) => `${count}${unit}`).join("");
}

/** How long before `now` an RFC 3339 time was; "" for none. */
export function formatAge(time: string | null, now: Instant): string {
  if (time === null) return "";
  const at = Date.parse(time);
  if (Number.isNaN(at)) return time;
  const seconds = Math.max(0, Math.floor((now - at) / 1_000));
  return seconds === 0 ? "0s" : formatDuration(seconds * 1_000);
}

/** 2026-11-20T19:55:19.123Z → 2026-11-20 19:55:19Z. Anything else as it is. */
export const formatTime = (time: string | null): string => (time === null ? "" : time.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$/, "$1 $2Z"));

/** Three digits at most: 0.4ms, 12ms, 480ms, 1.2s, 15s. */
export function formatLatency(ms: number | null): string {
  if (ms === null) return "";
  if (ms < 9.95) return `${ms.toFixed(1)}ms`;
  if (ms < 999.5) return `${Math.round(ms)}ms`;
  return ms < 9_950 ? `${(ms / 1_000).toFixed(1)}s` : `${Math.round(ms / 1_000)}s`;
}
