/**
 * Whether the machine was rebooted since this agent last let go of its restart policies: the kernel's boot id, kept in the
 * state directory. It is written only once they have been released, so an agent that dies before that is still "after the
 * reboot" when it comes back. No file is a machine we know nothing of, which is treated as one that was rebooted.
 */
import { readFileSync } from "node:fs";
import { writeDurable } from "../runner/durable-file.ts";

export interface RebootMark {
  readonly rebooted: boolean;
  /** Throws when it cannot be written. */
  settle(): void;
}

export function openRebootMark(path: string, hostBootId: string): RebootMark {
  return { rebooted: read(path) !== hostBootId, settle: () => writeDurable(path, `${hostBootId}\n`) };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
