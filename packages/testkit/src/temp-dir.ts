/**
 * Scratch directories that go away by themselves: when the process exits, and, for those killed with -9, when the
 * next process makes one. They are grouped by process, so a sweep never takes away a living test's files.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "skep-test-";
let root: string | undefined;

/** A fresh empty directory, 0700. `label` is part of its name: use it for awkward names such as "with space". */
export function tempDir(label = "dir"): string {
  root ??= makeRoot();
  return mkdtempSync(join(root, `${label}-`));
}

/** Removes the directories of test processes that no longer live. */
export function sweepTempDirs(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(/^skep-test-(\d+)$/.exec(name)?.[1]);
    if (Number.isInteger(pid) && !isAlive(pid)) removeIfOurs(join(tmpdir(), name));
  }
}

/**
 * What another user's run left behind is that user's to clear away, and what is still written to (by a child that
 * outlives its test process for a moment, or swept by somebody else just now) is the next sweep's: no reason to fail.
 */
function removeIfOurs(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (!["EACCES", "EPERM", "ENOTEMPTY", "EBUSY"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

function makeRoot(): string {
  sweepTempDirs();
  const path = join(tmpdir(), `${PREFIX}${process.pid}`);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  process.once("exit", () => removeIfOurs(path));
  return path;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
