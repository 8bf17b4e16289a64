/**
 * What must be known of a container and cannot be asked of the engine: whether it was stopped on request, how often it
 * was restarted, whether its end was final, and that it was us who made it. One durable file per container id, written
 * before the effect it speaks of. They also tell whether this agent ever made anything here.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { WorkloadLabels } from "@skep/core";
import { writeDurable } from "../../runner/durable-file.ts";
import { asDriverError, isMissing } from "../driver-errors.ts";

export interface ContainerRecord {
  readonly version: 1;
  readonly id: string;
  readonly labels: WorkloadLabels;
  /** The kernel's boot in which it was last started. */
  readonly hostBootId: string;
  /** Restarts by policy. */
  readonly restarts: number;
  /** Ends in a row, each soon after its start. */
  readonly crashes: number;
  /** Asked to stop: never started again by policy. */
  readonly stop?: { readonly at: number; readonly because?: string | undefined } | undefined;
  /** Its policy gave it up; the error is why. */
  readonly ended?: { readonly error?: string | undefined } | undefined;
  /** The engine could not start it: its words. */
  readonly startError?: string | undefined;
}

export interface Records {
  get(id: string): ContainerRecord | undefined;
  all(): readonly ContainerRecord[];
  /** Durable when it returns. Throws `disk_full` or `start_failed`; then nothing was noted. */
  put(record: ContainerRecord): void;
  /** As `put`, but what cannot be written holds at least as long as this process lives. Says whether it is durable. */
  insist(record: ContainerRecord): boolean;
  drop(id: string): void;
}

export function createRecords(directory: string): Records {
  const records = load(directory);
  const pathOf = (id: string): string => join(directory, `${id}.json`);
  const put = (record: ContainerRecord): void => {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      writeDurable(pathOf(record.id), JSON.stringify(record));
    } catch (error) {
      throw asDriverError(error, "start_failed", "the container's record cannot be written");
    }
    records.set(record.id, record);
  };
  return {
    get: (id) => records.get(id),
    all: () => [...records.values()],
    put,
    insist: (record) => {
      records.set(record.id, record);
      try {
        put(record);
        return true;
      } catch {
        return false;
      }
    },
    drop: (id) => {
      records.delete(id);
      rmSync(pathOf(id), { force: true });
    },
  };
}

function load(directory: string): Map<string, ContainerRecord> {
  const records = new Map<string, ContainerRecord>();
  for (const name of namesIn(directory)) {
    const record = /^[0-9a-f]{12,64}\.json$/.test(name) ? read(join(directory, name)) : undefined;
    if (record !== undefined) records.set(record.id, record);
  }
  return records;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Files are replaced whole, so one that cannot be read is damage; the engine still knows its container. */
function read(path: string): ContainerRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, "utf8")) as ContainerRecord;
    return record.version === 1 ? record : undefined;
  } catch {
    return undefined;
  }
}
