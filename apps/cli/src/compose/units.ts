/** Quantities as Compose writes them. undefined: not one. */
const DURATION_MS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** "1m30s", "500ms", "1.5h" → milliseconds, rounded up: a limit of nothing would be another thing than a very short one. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(?:\d{1,12}(?:\.\d{1,9})?(?:ns|us|µs|ms|s|m|h|d|w))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)/g)) ms += Number(count) * DURATION_MS[unit!]!;
  return Number.isSafeInteger(Math.ceil(ms)) ? Math.ceil(ms) : undefined;
}

/** "512m", "1.5gb", "64KiB", "1024" → bytes; units are powers of 1024. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,16}(?:\.\d{1,9})?) ?([kmgtp]?)i?b?$/i.exec(text);
  if (match === null) return undefined;
  const bytes = Math.floor(Number(match[1]) * 1_024 ** " kmgtp".indexOf(match[2]!.toLowerCase() || " "));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

export function parseNumber(text: string): number | undefined {
  return /^\d{1,12}(?:\.\d{1,9})?$/.test(text) ? Number(text) : undefined;
}

export function parseBoolean(text: string): boolean | undefined {
  if (/^(?:true|y|yes|on|1)$/i.test(text)) return true;
  return /^(?:false|n|no|off|0)$/i.test(text) ? false : undefined;
}
