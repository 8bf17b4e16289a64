/** What the driver's verbs share. */
import type { AbortSignalLike, Clock, Logger, Rng, WorkloadLabels } from "@skep/core";
import type { KeyedLock } from "../../keyed-lock.ts";
import type { RunTimings } from "../../runner/run-state.ts";
import { sameLabels } from "../labels.ts";
import type { ComponentDirs } from "../component-dirs.ts";
import type { Collector } from "./collect-logs.ts";
import { ownFilter, readLabels } from "./container-labels.ts";
import type { ReadLabels } from "./container-labels.ts";
import { EngineAway } from "./engine-error.ts";
import type { Engine, Inspected } from "./engine.ts";
import type { Keeper } from "./keeper.ts";
import type { Marks } from "./marked-processes.ts";
import type { Records } from "./records.ts";
import { mapBounded } from "../../map-bounded.ts";

export interface Credential {
  readonly server: string;
  readonly username: string;
  readonly password: string;
}

export interface DockerContext {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly engine: Engine;
  /** Whose containers are ours; throws while the agent has no identity. */
  readonly owner: () => string;
  readonly hostBootId: string;
  readonly timings: RunTimings;
  readonly records: Records;
  readonly dirs: ComponentDirs;
  readonly sharedDir: string;
  readonly lock: KeyedLock;
  readonly keeper: Keeper;
  readonly collector: Collector;
  readonly marks: Marks;
  readonly credential: (name: string) => Credential | undefined;
}

/** One container of ours, as the engine tells it. */
export interface View extends ReadLabels {
  readonly id: string;
  readonly seen: Inspected;
}

/** More at once would only wait for the same sockets. */
const INSPECTS_AT_ONCE = 8;

export interface Sight {
  readonly engine: Engine;
  readonly owner: () => string;
}

/** Our containers, of one component or all. Rejects when it could not look. */
export async function lookAt({ engine, owner }: Sight, only: { readonly placement?: string; readonly component?: string } = {}, signal?: AbortSignalLike): Promise<View[]> {
  const listed = await engine.containers(ownFilter(owner(), only), signal);
  const views = await mapBounded(listed, INSPECTS_AT_ONCE, async ({ Id }) => {
    const seen = await engine.inspect(Id, signal);
    return seen === undefined ? undefined : viewOf(seen);
  });
  return views.filter((view) => view !== undefined);
}

/** undefined: labelled as ours, yet it does not say whose it is. */
export function viewOf(seen: Inspected): View | undefined {
  const read = readLabels(seen.Config?.Labels ?? {});
  return read === undefined ? undefined : { ...read, id: seen.Id, seen };
}

/** Those that were started under exactly these labels. */
export async function lookFor(context: Sight, labels: WorkloadLabels, signal?: AbortSignalLike): Promise<View[]> {
  const views = await lookAt(context, { placement: labels.placementId, component: labels.component }, signal);
  return views.filter((view) => sameLabels(view.labels, labels));
}

export const isRunning = ({ seen }: View): boolean => seen.State?.Running === true;
/** Podman and Docker both write the year 1 for "never". */
export const timeOf = (text: string | undefined): number | undefined => {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) || ms <= 0 ? undefined : ms;
};
export const wasStarted = ({ seen }: View): boolean => timeOf(seen.State?.StartedAt) !== undefined;

export const noIdentity = (): EngineAway => new EngineAway("this agent has no identity yet, so it cannot tell which containers are its own", false);

/** A look of several calls with one limit for all of them. */
export async function withinLimit<T>(clock: Clock, limitMs: number, work: (signal: AbortSignalLike) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const over = new AbortController();
  const limit = clock.sleep(limitMs, over.signal).then((): never => {
    late.abort();
    throw new EngineAway(`the container engine did not answer everything within ${limitMs} ms`, false);
  });
  limit.catch(() => undefined);
  try {
    return await Promise.race([work(late.signal), limit]);
  } finally {
    over.abort();
  }
}
