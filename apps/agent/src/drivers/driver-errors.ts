/** File system errors as driver errors: a full disk has its own code, because its cure is elsewhere. */
import { DriverError } from "@skep/core";

const FULL = new Set(["ENOSPC", "EDQUOT"]);

/** `what` says what was being done. A `DriverError` passes unchanged. */
export function asDriverError(error: unknown, code: string, what: string): DriverError {
  if (error instanceof DriverError) return error;
  const cause = error as NodeJS.ErrnoException;
  if (FULL.has(cause.code ?? "")) return new DriverError("disk_full", `${what}: the disk is full; free space on the host and try again`);
  return new DriverError(code, `${what}: ${cause.message}`);
}

export const isMissing = (error: unknown): boolean => ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
