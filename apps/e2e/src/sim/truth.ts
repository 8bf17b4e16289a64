/**
 * What really happened, written down by the simulated world itself: never asked of the code under test. The checker
 * holds the ledger against it.
 */
import type { JournalRecord } from "@skep/agent";
import type { HostId } from "@skep/core";
import type { JournalEvents } from "./journal-disk.ts";
import type { Start, Workloads } from "./workloads.ts";
import type { World } from "./world.ts";

export interface Violation {
  /** I1…I14 of faults.md. */
  readonly invariant: string;
  readonly atMs: number;
  readonly words: string;
}

export interface Outage {
  readonly fromMs: number;
  toMs: number | undefined;
}

export interface Truth {
  readonly violations: readonly Violation[];
  violate(invariant: string, words: string): void;
  noteStart(start: Start): void;
  noteError(data: object, message: string): void;
  journalOf(hostId: HostId, workloads: Workloads): JournalEvents;
  hostDown(hostId: HostId): void;
  hostUp(hostId: HostId): void;
  /** Something between the host and its masters stopped working. */
  linkDown(hostId: HostId, cut: string): void;
  linkUp(hostId: HostId, cut: string): void;
  /** A single message of the host's was lost by chance. */
  dropped(hostId: HostId): void;
  /** Whether the host itself gave a reason, within the window before now, to think it gone. */
  hadTrouble(hostId: HostId, windowMs: number): boolean;
  /** What the agent ever said of the job's end, or may have said. */
  words(jobId: string): ReadonlySet<string>;
  /** When the job last moved; undefined = no agent ever heard of it. */
  movedAtMs(jobId: string): number | undefined;
  readonly errors: readonly string[];
}

/** A killed process's last words reach nobody; an absent database, a driver's failure and a full disk are no surprise here. */
const EXPECTED = new Set(["ProcessKilled", "SkepError", "DriverError"]);

export function createTruth(world: World): Truth {
  const violations: Violation[] = [];
  const outages = new Map<string, Outage[]>();
  const drops = new Map<string, number[]>();
  const newestStarted = new Map<string, number>();
  const newestBegun = new Map<string, number>();
  const starts = new Set<string>();
  const begun = new Map<string, number>();
  const said = new Map<string, Set<string>>();
  const moved = new Map<string, number>();
  const jobs = new Map<string, { readonly generation: number; readonly placementId: string }>();
  const errors: string[] = [];

  const violate = (invariant: string, words: string): void => {
    violations.push({ invariant, atMs: world.nowMs(), words });
    world.trace(`VIOLATION ${invariant}: ${words}`);
  };
  const open = (hostId: string): void => {
    const list = outages.get(hostId) ?? [];
    list.push({ fromMs: world.nowMs(), toMs: undefined });
    outages.set(hostId, list);
  };
  const close = (hostId: string): void => {
    for (const outage of outages.get(hostId) ?? []) outage.toMs ??= world.nowMs();
  };
  const say = (jobId: string, word: string): void => {
    const words = said.get(jobId) ?? new Set();
    words.add(word);
    said.set(jobId, words);
  };

  return {
    violations,
    errors,
    violate,
    noteError: (data, message) => {
      const err = (data as { err?: unknown }).err;
      if (err instanceof Error && (EXPECTED.has(err.name) || (err as { code?: string }).code === "ENOSPC")) return;
      errors.push(`${message}: ${err instanceof Error ? (err.stack ?? err.message) : JSON.stringify(data)}`);
    },
    noteStart: ({ host, labels }) => {
      // What a rollback puts back carries the new job's id and the old generation.
      const restored = (jobs.get(labels.jobId)?.generation ?? labels.generation) !== labels.generation;
      const key = `${host}/${labels.placementId}/${labels.component}`;
      const once = `${key}/${labels.jobId}/${labels.generation}`;
      if (starts.has(once)) violate("I3", `job ${labels.jobId} started ${labels.component} of generation ${labels.generation} a second time on ${host}`);
      starts.add(once);
      if (restored) return;
      const newest = newestStarted.get(key) ?? 0;
      if (labels.generation < newest) violate("I4", `${host} started generation ${labels.generation} of ${labels.component} after generation ${newest}`);
      newestStarted.set(key, Math.max(newest, labels.generation));
    },
    journalOf: (hostId, workloads) => ({
      asked: (record: JournalRecord) => {
        if (record.kind === "accepted") {
          jobs.set(record.command.job_id, { generation: record.command.generation, placementId: record.command.placement_id });
          world.trace(`job ${record.command.job_id} (${record.command.operation}, generation ${record.command.generation}) is taken`);
        }
        if (record.kind === "ended") world.trace(`job ${record.jobId} ended: ${record.status} ${record.error ?? ""}`);
        if (record.kind === "tombstone") say(record.jobId, "cancelled");
        if (record.kind !== "ended") return;
        say(record.jobId, record.status);
        if (record.status !== "succeeded" || record.placement === undefined || record.placement === null || record.placement.desired !== "running") return;
        for (const [component, hash] of Object.entries(record.placement.hashes)) {
          if (!workloads.hasRun(record.placement.placementId, component, hash)) violate("I5", `job ${record.jobId} is called succeeded on ${hostId}, and ${component} never ran`);
        }
      },
      answered: (record: JournalRecord) => {
        const jobId = "jobId" in record ? record.jobId : record.kind === "accepted" ? record.command.job_id : undefined;
        if (jobId !== undefined) moved.set(jobId, world.nowMs());
        if (record.kind !== "begun") return;
        const times = (begun.get(record.jobId) ?? 0) + 1;
        begun.set(record.jobId, times);
        if (times > 1) violate("I3", `job ${record.jobId} was begun ${times} times`);
        const { generation, placementId } = jobs.get(record.jobId)!;
        const newest = newestBegun.get(placementId) ?? 0;
        if (generation < newest) violate("I4", `job ${record.jobId} of generation ${generation} went to work after generation ${newest} had`);
        newestBegun.set(placementId, Math.max(newest, generation));
      },
    }),
    hostDown: open,
    hostUp: close,
    linkDown: (hostId, cut) => open(`${hostId} ${cut}`),
    linkUp: (hostId, cut) => close(`${hostId} ${cut}`),
    dropped: (hostId) => {
      const list = drops.get(hostId) ?? [];
      list.push(world.nowMs());
      drops.set(hostId, list);
    },
    hadTrouble: (hostId, windowMs) => {
      const since = world.nowMs() - windowMs;
      const causes = [...outages].filter(([key]) => key.startsWith(hostId)).flatMap(([, list]) => list);
      return causes.some((outage) => outage.toMs === undefined || outage.toMs >= since) || (drops.get(hostId) ?? []).filter((atMs) => atMs >= since).length >= 2;
    },
    words: (jobId) => said.get(jobId) ?? new Set(),
    movedAtMs: (jobId) => moved.get(jobId),
  };
}
