/**
 * Captured output as a row of files, each named by the offset of its first byte. An offset therefore means the same
 * byte for ever: rotation drops the oldest file and renumbers nothing, and no reader needs the writer's help.
 */
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { LogLimits } from "./run-state.ts";

export interface LogSegment {
  readonly path: string;
  readonly start: number;
  readonly size: number;
}

const NAME = /^(\d{16})\.log$/;
const nameOf = (start: number): string => `${String(start).padStart(16, "0")}.log`;

/** The segments there are, oldest first. Throws ENOENT when the directory was never made. */
export function listSegments(directory: string): LogSegment[] {
  const segments: LogSegment[] = [];
  for (const name of readdirSync(directory).sort()) {
    const start = NAME.exec(name)?.[1];
    if (start === undefined) continue;
    const path = join(directory, name);
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size !== undefined) segments.push({ path, start: Number(start), size });
  }
  return segments;
}

export interface LogWriter {
  /** Never throws: a full disk must not end the workload. What was lost is said in the log once there is room. */
  write(chunk: Uint8Array): void;
  /** The offset of the next byte. */
  end(): number;
  close(): void;
}

export function openLogWriter(directory: string, limits: LogLimits): LogWriter {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const last = listSegments(directory).at(-1);
  let start = last?.start ?? 0;
  let size = last?.size ?? 0;
  let file: number | undefined;
  let lostBytes = 0;
  let lostBecause = "";

  const rotate = (): void => {
    if (file !== undefined) closeSync(file);
    file = undefined;
    start += size;
    size = 0;
    for (const old of listSegments(directory).slice(0, -Math.max(1, limits.segments - 1))) rmSync(old.path, { force: true });
  };
  const append = (bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.length; ) {
      if (size >= limits.segmentBytes) rotate();
      file ??= openSync(join(directory, nameOf(start)), "a", 0o600);
      const written = writeSync(file, bytes, at, Math.min(bytes.length - at, limits.segmentBytes - size));
      at += written;
      size += written;
    }
  };
  const write = (chunk: Uint8Array): void => {
    let before = start + size;
    try {
      if (lostBytes > 0) {
        append(Buffer.from(`\n[skep: ${lostBytes} bytes of output were lost: ${lostBecause}]\n`));
        lostBytes = 0;
        before = start + size;
      }
      append(chunk);
    } catch (error) {
      lostBytes += Math.max(0, chunk.length - (start + size - before));
      lostBecause = (error as NodeJS.ErrnoException).code ?? "unknown";
    }
  };
  return { write, end: () => start + size, close: () => file !== undefined && closeSync(file) };
}
