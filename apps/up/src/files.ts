/** Small JSON files of the supervisor, whole or not there, and its log files. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, renameSync, writeSync } from "node:fs";
import { writePrivateFile } from "@skep/pki";

/** undefined when there is none or it is not JSON: every such file can be made again. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

export const writeJson = (path: string, value: unknown): Promise<void> => writePrivateFile(path, `${JSON.stringify(value)}\n`);

/** Keeps the last run's log as `.1` and drops the one before: two runs are what an explanation needs. */
export function rotateLog(path: string): void {
  if (existsSync(path)) renameSync(path, `${path}.1`);
}

/** The end of a log, for the error that names it. */
export function tailOf(path: string, bytes = 1_500): string {
  try {
    const file = openSync(path, "r");
    try {
      const { size } = fstatSync(file);
      const chunk = Buffer.alloc(Math.min(bytes, size));
      readSync(file, chunk, 0, chunk.length, size - chunk.length);
      const text = chunk.toString("utf8");
      return (size > chunk.length ? text.slice(text.indexOf("\n") + 1) : text).trimEnd();
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}

/** Written at once, line by line: the last line before a crash is the one that matters. */
export function openLogFile(path: string): { write(line: string): void } {
  const file = openSync(path, "a", 0o600);
  return { write: (line) => void writeSync(file, line) };
}
