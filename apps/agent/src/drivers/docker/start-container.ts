/**
 * Starting one component, at most once per labels. What is there under the same labels decides: running stays, its good
 * end stays, everything else is started again; only where nothing is, a container is made.
 */
import { DriverError } from "@skep/core";
import type { AbortSignalLike, ComponentSpec, Progress, WorkloadLabels } from "@skep/core";
import { sameLabels, whose } from "../labels.ts";
import { lookFor, isRunning, wasStarted } from "./context.ts";
import type { DockerContext, View } from "./context.ts";
import { LABEL, readLabels, thingName } from "./container-labels.ts";
import { createBody } from "./create-body.ts";
import { asRefused, EngineRefusal, plainWords } from "./engine-error.ts";
import { START_DEADLINE_MS } from "./keeper.ts";
import { findInContainer, killProcess } from "./marked-processes.ts";
import type { ContainerRecord } from "./records.ts";
import { sharedNames } from "./shared-names.ts";
import { REMOVE_DEADLINE_MS } from "./stop-container.ts";

/** How long the engine may take over a container that was given up. Too short: there may be two of one start; too long: a job waits for a name. */
const NAME_PATIENCE_MS = 15_000;
const NAME_PAUSE_MS = 50;
const START_CODES = ["disk_full", "port_in_use", "program_not_found", "not_executable", "network_not_found"];

export async function startContainer(context: DockerContext, labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike, progress: Progress): Promise<void> {
  const there = await lookFor(context, labels, signal);
  if (there.some(isRunning)) return;
  const [old] = there;
  // Of a container that somebody removed: its successor takes its place.
  for (const { id, labels: its } of context.records.all()) if (sameLabels(its, labels) && !there.some((view) => view.id === id)) context.records.drop(id);
  if (old !== undefined && isDone(context, old)) return;
  if (signal.aborted) throw new DriverError("aborted", "the start was aborted; nothing was started");
  const isFresh = old === undefined || !wasStarted(old);
  const id = isFresh ? await make(context, labels, spec, signal, old?.id) : old.id;
  progress();
  try {
    await begin(context, labels, id, signal);
  } catch (error) {
    if (!isFresh || !isHalfStarted(error)) throw asRefused(error, `${labels.component} could not be started`, "start_failed", START_CODES);
    await giveUpOn(context, id);
    const another = await make(context, labels, spec, signal, undefined);
    progress();
    await begin(context, labels, another, signal).catch((again: unknown) => {
      throw asRefused(again, `${labels.component} could not be started`, "start_failed", START_CODES);
    });
  }
  progress();
}

/** Rejects with the engine's own refusal. */
async function begin(context: DockerContext, labels: WorkloadLabels, id: string, signal: AbortSignalLike): Promise<void> {
  const record: ContainerRecord = { version: 1, id, labels, hostBootId: context.hostBootId, restarts: 0, crashes: 0 };
  // Before the effect: what runs is known, and what was once told to stop may run again.
  context.records.put(record);
  await context.keeper.starting(id, async () => {
    try {
      await context.engine.start(id, signal, START_DEADLINE_MS);
    } catch (error) {
      if (error instanceof EngineRefusal) context.records.insist({ ...record, ended: {}, startError: `could not be started: ${plainWords(error.message)}` });
      throw error;
    }
  });
}

/**
 * An engine that is killed while it starts a container leaves the start with its runtime and forgets about it: to the
 * engine the container was never started, to the runtime its id is taken, and it can never be started again.
 */
const isHalfStarted = (error: unknown): boolean => error instanceof EngineRefusal && /\btask [0-9a-f]{12,}: already exists|\bid already in use/.test(error.message);

/** What of it may run would be a second copy that the engine knows nothing of. */
async function giveUpOn({ engine, records, logger }: DockerContext, id: string): Promise<void> {
  const strays = findInContainer(id);
  logger.warn({ container: id, strays }, "the engine was killed while it started this container, which can never be started now: another takes its place");
  for (const pid of strays) killProcess(pid);
  await engine.remove(id, REMOVE_DEADLINE_MS);
  records.drop(id);
}

/** It ran to its good end and nobody will start it again: doing so would execute one job twice. */
function isDone({ records, hostBootId }: DockerContext, view: View): boolean {
  const record = records.get(view.id);
  if (!wasStarted(view) || view.seen.State?.ExitCode !== 0 || record === undefined || record.stop !== undefined || record.startError !== undefined) return false;
  if (view.spec?.run_to_completion === true) return true;
  return record.hostBootId === hostBootId && view.spec?.restart.policy !== "always";
}

/** `made`: one that was made and never started; it may still lack its networks. */
async function make(context: DockerContext, labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike, made: string | undefined): Promise<string> {
  const { body, more } = createBody(context.owner(), labels, spec, sharedNames(context.sharedDir, labels));
  try {
    const id = made ?? (await create(context, labels, body, signal));
    const ends = more.length === 0 ? {} : ((await context.engine.inspect(id, signal))?.NetworkSettings?.Networks ?? {});
    const connected = new Set([...Object.keys(ends), ...Object.values(ends).map((end) => end?.NetworkID)]);
    for (const { network, aliases } of more) {
      if (connected.has(network)) continue;
      await context.engine.connect(network, { Container: id, EndpointConfig: { Aliases: aliases } }, signal).catch((error: unknown) => {
        // Until its first start an engine may not tell which networks a container is in.
        if (!(error instanceof EngineRefusal) || !/already/i.test(error.message)) throw error;
      });
    }
    return id;
  } catch (error) {
    const missing = error instanceof EngineRefusal && error.status === 404 && /image/i.test(error.message);
    throw asRefused(error, `the container of ${whose(labels)} could not be made`, missing ? "image_not_found" : "start_failed", ["disk_full", "image_not_found", "network_not_found"]);
  }
}

/**
 * The name is for people; where somebody else has it, another will do. But it may be ours: a call that was given up, and
 * that the engine is still working on, holds its name before its container can be seen.
 */
async function create({ engine, rng, clock, owner }: DockerContext, labels: WorkloadLabels, body: object, signal: AbortSignalLike): Promise<string> {
  const name = thingName(labels, labels.component, `g${labels.generation}`, labels.jobId.slice(-4));
  const untilMs = clock.mono() + NAME_PATIENCE_MS;
  for (;;) {
    try {
      return await engine.create(name, body, signal);
    } catch (error) {
      if (!(error instanceof EngineRefusal) || error.status !== 409) throw error;
    }
    const holder = await engine.inspect(name, signal);
    const read = readLabels(holder?.Config?.Labels ?? {});
    const ours = holder?.Config?.Labels?.[LABEL.host] === owner() && read !== undefined && sameLabels(read.labels, labels);
    if (holder !== undefined && ours) return holder.Id;
    if (holder !== undefined || clock.mono() >= untilMs) return engine.create(`${name}-${Buffer.from(rng.bytes(4)).toString("hex")}`, body, signal);
    await clock.sleep(NAME_PAUSE_MS);
  }
}
