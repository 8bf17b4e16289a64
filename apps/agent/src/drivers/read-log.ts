/** Captured output read back by offset, while its writer rotates underneath. */
import { open } from "node:fs/promises";
import { SkepError } from "@skep/core";
import type { LogChunk } from "@skep/core";
import { listSegments } from "../runner/log-segments.ts";
import type { LogSegment } from "../runner/log-segments.ts";
import { isMissing } from "./driver-errors.ts";

/** A reader asks again; a larger answer would only cost memory. */
const MAX_CHUNK_BYTES = 1_048_576;

/**
 * Bytes from `offset` (negative: from the end). What was rotated away is skipped, an offset past the end is the end.
 * Throws `logs_not_found` when nothing was ever captured there.
 */
export async function readLog(directory: string, component: string, offset: number, limit: number): Promise<LogChunk> {
  let wanted = offset;
  for (let tries = 0; ; tries++) {
    const segments = segmentsOf(directory, component);
    const first = segments[0]?.start ?? 0;
    const last = segments.at(-1);
    const end = last === undefined ? 0 : last.start + last.size;
    wanted = Math.min(end, Math.max(first, wanted < 0 ? end + wanted : wanted));
    try {
      const data = await readRange(segments, wanted, Math.max(0, Math.min(limit, MAX_CHUNK_BYTES, end - wanted)));
      return { data, nextOffset: wanted + data.length };
    } catch (error) {
      // Rotated away between the look and the read: look again.
      if (!isMissing(error) || tries >= 5) throw error;
    }
  }
}

/** The end of the output as one line of at most `limit` characters, safe to print. */
export async function tailForPerson(directory: string, component: string, limit: number): Promise<string> {
  const { data } = await readLog(directory, component, -limit, limit).catch(() => ({ data: new Uint8Array() }));
  const text = Buffer.from(data).toString("utf8").trim();
  return Array.from(text, escapeControl).join("").slice(-limit);
}

function escapeControl(char: string): string {
  if (char === "\n") return "\\n";
  const code = char.codePointAt(0)!;
  // C0, DEL, C1, and the direction marks that make a terminal show another text than was written.
  const hidden = code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x200e && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return hidden ? `\\u${code.toString(16).padStart(4, "0")}` : char;
}

function segmentsOf(directory: string, component: string): LogSegment[] {
  try {
    return listSegments(directory);
  } catch (error) {
    if (isMissing(error)) throw new SkepError("logs_not_found", `no logs of ${component}: it never ran here`);
    throw error;
  }
}

async function readRange(segments: readonly LogSegment[], from: number, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let at = from;
  const until = from + length;
  for (const segment of segments) {
    const segmentEnd = segment.start + segment.size;
    if (segmentEnd <= at || at >= until) continue;
    const part = new Uint8Array(Math.min(until, segmentEnd) - at);
    const file = await open(segment.path, "r");
    try {
      const { bytesRead } = await file.read(part, 0, part.length, at - segment.start);
      parts.push(part.subarray(0, bytesRead));
      at += bytesRead;
    } finally {
      await file.close();
    }
  }
  return Buffer.concat(parts);
}
