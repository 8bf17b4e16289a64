/**
 * The executor: takes jobs, runs them, remembers them, and answers for them. Invariants: a job is durable before it is
 * accepted; a job id has one run; one job per placement at a time, in order of acceptance; what the journal does not
 * say did not happen, and what it says is told until somebody has acknowledged it.
 */
import { NO_TRACES, SkepError, decideAdmission, toIso, traceFacts, uuidv7, type AgentPhase, type Span } from "@skep/core";
import type { AcceptedReply, CancelReply, Delta, JobView, PendingJob } from "@skep/protocol";
import type { EndedRecord, JobEntry } from "../journal/records.ts";
import { createLedger } from "../journal/ledger.ts";
import { checkCommand, dryRunOf } from "./check-command.ts";
import { deltaOf, viewOf } from "./delta.ts";
import { RuntimeAway, createEyes } from "./eyes.ts";
import { createKeyedLock } from "../keyed-lock.ts";
import { LOOK_LIMIT_MS } from "./limits.ts";
import { createScheduler } from "./scheduler.ts";
import { settleUnfinished } from "./settle-unfinished.ts";
import type { CancelAsk, Executor, ExecutorDeps, Outbox } from "./types.ts";
import { viewPlacements } from "./view-placements.ts";

/** What a caller may wait before it asks again. Shorter asks a busy host in vain; longer delays the first job after a boot. */
const BOOT_RETRY_MS = 5_000;
const booting = (detail: string): SkepError => new SkepError("agent_booting", detail, { retryAfterMs: BOOT_RETRY_MS });

/** A little above a driver's grace after its signal: what takes longer hangs. */
const ABANDON_LIMIT_MS = 6_000;

export function createExecutor(deps: ExecutorDeps): Executor {
  const { clock, rng, logger, policy, bootId, tracer = NO_TRACES } = deps;
  const ledger = createLedger({ store: deps.journal, policy, logger, onEnded: deps.onJobEnded });
  const { state } = ledger;
  const locks = createKeyedLock();
  const eyes = createEyes(deps.drivers, clock);
  const deltaListeners = new Set<() => void>();
  const changeListeners = new Set<() => void>();
  const sentAway = new Set<string>();
  let phase: AgentPhase = "booting";
  let loaded = false;
  let session = 0;
  let admitting = 0;

  const tell = (listeners: ReadonlySet<() => void>): void => listeners.forEach((listener) => listener());
  const newId = (): string => uuidv7(clock.now(), rng);
  const now = (): string => toIso(clock.now());
  /** Where something of a job's placement may be. Where nobody knows, anywhere. */
  const neededBy = ({ placementId, command }: Pick<JobEntry, "placementId" | "command">): readonly string[] | "all" => {
    const applied = state.placements.get(placementId)?.spec.driver;
    const asked = command === undefined || command.operation === "teardown" ? undefined : command.spec.driver;
    const names = [asked, applied].filter((name) => name !== undefined);
    return names.length === 0 ? "all" : [...new Set(names)];
  };
  const scheduler = createScheduler({
    ...deps, ledger, eyes, newId, now, neededBy,
    onDelta: () => tell(deltaListeners),
    onChange: () => tell(changeListeners),
  });
  for (const driver of deps.drivers) driver.onChange(() => tell(changeListeners));

  function requireLoaded(): void {
    if (!loaded) throw booting("the journal is not read yet");
  }

  async function load(): Promise<void> {
    await ledger.load();
    const { unbegun, unseen } = await settleUnfinished({ ledger, eyes, clock, logger, tracer, newId, now, neededBy, halted: scheduler.halted });
    if (phase !== "booting") return;
    scheduler.hold(unbegun, unseen);
    loaded = true;
    tell(deltaListeners);
  }

  function open(): void {
    if (phase !== "booting") return;
    phase = "ready";
    scheduler.start();
    // The master hears at once that offers are taken.
    tell(deltaListeners);
  }

  function acceptedReply(entry: JobEntry, duplicate: boolean): AcceptedReply {
    return { status: "accepted", job_id: entry.jobId, duplicate, op_seq: entry.opSeq, boot_id: entry.bootId, job_status: entry.status };
  }

  async function admit(command: PendingJob): Promise<AcceptedReply> {
    const { job_id: jobId, deployment, operation, generation } = command;
    const span = tracer.startSpan("accept", { parent: command.traceparent, kind: "consumer", attributes: { deployment, operation, generation, lifecycleId: jobId } });
    try {
      const reply = await take(command, span);
      span.end({ attributes: { status: reply.duplicate ? "duplicate" : "accepted" } });
      const facts = { jobId, deployment, operation, generation, ...traceFacts(span.traceparent) };
      // It is pushed and offered until the master has heard: only the first time is news.
      if (reply.duplicate) logger.debug(facts, "a job was offered again that was accepted before");
      else logger.info(facts, "a job was accepted");
      return reply;
    } catch (error) {
      span.end({ error: error instanceof SkepError ? error.code : "internal" });
      throw error;
    }
  }

  async function take(command: PendingJob, span: Span): Promise<AcceptedReply> {
    requireLoaded();
    return locks.run([`job ${command.job_id}`, `placement ${command.placement_id}`], async () => {
      const known = state.jobs.get(command.job_id);
      const applied = state.placements.get(command.placement_id);
      const verdict = decideAdmission(
        {
          jobId: command.job_id, operation: command.operation, sessionEpoch: command.session_epoch, epoch: command.epoch, generation: command.generation,
          baseGeneration: command.operation === "mutate" ? command.base_generation : undefined,
        },
        {
          phase, sessionEpoch: session, known: known?.status, floor: state.floors.get(command.placement_id),
          appliedGeneration: applied?.generation, queued: scheduler.queuedWith(command) + admitting,
        },
        policy,
      );
      if (verdict.kind === "duplicate" && known !== undefined) return acceptedReply(known, true);
      if (verdict.kind === "refuse") throw verdict.code === "agent_booting" ? booting(verdict.detail) : new SkepError(verdict.code, verdict.detail);
      await checkCommand(command, applied, deps);
      admitting += 1;
      try {
        await ledger.write([{ kind: "accepted", opSeq: ledger.nextSeq(), bootId, at: now(), command, traceparent: span.traceparent }], { sync: true });
      } finally {
        admitting -= 1;
      }
      deps.failpoint?.("after_journal");
      const reply = acceptedReply(state.jobs.get(command.job_id)!, false);
      scheduler.push(command.job_id);
      return reply;
    });
  }

  async function cancel(jobId: string, ask: CancelAsk): Promise<CancelReply> {
    requireLoaded();
    return locks.run([`job ${jobId}`], async () => {
      const entry = state.jobs.get(jobId);
      if (entry === undefined) {
        await writeTombstone(jobId, ask);
        return { status: "cancelled", job_id: jobId };
      }
      const asItStands = (): CancelReply => ({ status: state.jobs.get(jobId)!.status, job_id: jobId, job: view(state.jobs.get(jobId)!) });
      // `absent` means "seal it if you do not know it": a job that is known is not the asker's to stop.
      if (ask.reason === "absent" || entry.completedAt !== undefined) return asItStands();
      if (phase === "stopping") throw new SkepError("agent_draining", "the agent is stopping; ask again after its restart");
      if ((await scheduler.cancel(jobId)) === "cancelled") return asItStands();
      return { status: "cancelling", job_id: jobId, job: view(state.jobs.get(jobId)!) };
    });
  }

  const view = (entry: JobEntry): JobView => viewOf(entry, scheduler.live(entry.jobId));

  async function writeTombstone(jobId: string, ask: CancelAsk): Promise<void> {
    const { placement_id: placementId, deployment, operation, generation, epoch } = ask;
    const addressed = placementId !== undefined && deployment !== undefined && operation !== undefined && generation !== undefined && epoch !== undefined;
    await ledger.write([{
      kind: "tombstone", opSeq: ledger.nextSeq(), bootId, at: now(), jobId, traceparent: ask.traceparent,
      // Without an address there is nobody to send a delta to; the answer to the cancel is then the only word of it.
      ...(addressed ? { deltaId: newId(), target: { placementId, deployment, operation, generation, epoch } } : {}),
    }], { sync: true });
    tell(deltaListeners);
  }

  async function recordRefusal(command: PendingJob, code: string, detail: string): Promise<void> {
    requireLoaded();
    await locks.run([`job ${command.job_id}`, `placement ${command.placement_id}`], async () => {
      if (state.jobs.has(command.job_id)) return;
      const ended: EndedRecord = {
        kind: "ended", opSeq: 0, jobId: command.job_id, status: "failed", at: now(), deltaId: newId(), steps: [],
        error: detail.slice(0, 2_000), errorCode: `rejected:${code}`,
      };
      await ledger.write([{ kind: "accepted", opSeq: ledger.nextSeq(), bootId, at: now(), command, refused: true, traceparent: command.traceparent }, { ...ended, opSeq: ledger.nextSeq() }], { sync: true });
      tell(deltaListeners);
    });
  }

  function deltas(limit: number): readonly Delta[] {
    if (!loaded) return [];
    const ended = [...state.jobs.values()].filter((entry) => entry.deltaId !== undefined && !entry.acked && !sentAway.has(entry.deltaId));
    ended.sort((a, b) => (a.endedSeq ?? 0) - (b.endedSeq ?? 0));
    const list = [...ended.map((entry) => deltaOf(entry, entry.deltaId!, entry.status as Delta["status"])), ...scheduler.runningDeltas()].slice(0, limit);
    // Ablation: without the outbox a delta is said once, whether or not anybody heard it.
    if (!policy.outboxAndInventory) for (const delta of list) {
      sentAway.add(delta.delta_id);
      scheduler.forgetRunningDelta(delta.delta_id);
    }
    return list;
  }

  function outbox(): Outbox {
    const ended = loaded ? [...state.jobs.values()].filter((entry) => entry.deltaId !== undefined && !entry.acked) : [];
    const oldest = ended.reduce<JobEntry | undefined>((first, entry) => (first === undefined || (entry.endedSeq ?? 0) < (first.endedSeq ?? 0) ? entry : first), undefined);
    return { size: ended.length, oldestEndedAt: oldest?.completedAt };
  }

  async function ack(results: readonly { readonly delta_id: string }[]): Promise<void> {
    if (!loaded || results.length === 0) return;
    const ids = new Set(results.map((result) => result.delta_id));
    for (const id of ids) scheduler.forgetRunningDelta(id);
    const jobIds = [...state.jobs.values()].filter((entry) => entry.deltaId !== undefined && ids.has(entry.deltaId) && !entry.acked).map((entry) => entry.jobId);
    if (jobIds.length === 0) return;
    deps.failpoint?.("before_ack_write");
    // Not synced: a lost acknowledgement costs one repeated delta, which the master answers with `duplicate`.
    await ledger.write([{ kind: "acked", jobIds }], { sync: false });
  }

  return {
    bootId,
    load,
    open,
    applied: () => [...state.placements.values()],
    phase: () => phase,
    admit,
    dryRun: async (command) => {
      requireLoaded();
      if (phase === "booting") throw booting("the boot sequence is not done, and a plan made in its midst would not be the job's");
      const applied = state.placements.get(command.placement_id);
      const seen = await eyes.placement(command.placement_id, neededBy({ placementId: command.placement_id, command })).catch((error: unknown) => {
        throw error instanceof RuntimeAway ? new SkepError("unavailable_observation", error.message) : error;
      });
      return dryRunOf(command, applied, deps, seen);
    },
    cancel,
    job: (jobId) => {
      requireLoaded();
      const entry = state.jobs.get(jobId);
      return entry === undefined ? undefined : view(entry);
    },
    inventory: () => ({
      op_seq: ledger.settledSeq(),
      jobs: !loaded || !policy.outboxAndInventory ? null : [...state.jobs.values()].filter((entry) => !entry.acked).map((entry) => {
        const live = scheduler.live(entry.jobId);
        return {
          job_id: entry.jobId, operation: entry.operation, status: entry.status, progress: live?.progress ?? entry.steps.length,
          ...(live === undefined ? {} : { phase: live.phase }),
          ...(entry.startedAt === undefined ? {} : { started_at: entry.startedAt }),
        };
      }),
    }),
    snapshot: async (limitMs = LOOK_LIMIT_MS) => {
      if (!loaded) return { deployed: false, placements: null, observed_error: "booting" };
      const sight = await eyes.glance(limitMs);
      const error = sight.blind.map((one) => (deps.drivers.length === 1 ? one.because : `${one.driver.name}: ${one.because}`)).join("; ").slice(0, 500);
      // Nothing could be seen at all: then the last observation stands, and is getting old.
      if (sight.sighted === 0) return { deployed: state.placements.size > 0, placements: null, observed_error: error };
      const placements = viewPlacements(state, sight);
      return { deployed: placements.some((placement) => placement.state !== "absent"), placements, ...(error === "" ? {} : { observed_error: error }) };
    },
    deltas,
    outbox,
    ack,
    applyFloors: async (floors) => {
      const higher = floors.filter((floor) => {
        const old = state.floors.get(floor.placementId);
        return old === undefined || floor.epoch > old.epoch || floor.generation > old.generation;
      });
      if (higher.length > 0) await ledger.write([{ kind: "floors", floors: higher }], { sync: true });
    },
    setSession: (epoch) => void (session = epoch),
    recordRefusal,
    onDelta: (listener) => void deltaListeners.add(listener),
    onChange: (listener) => void changeListeners.add(listener),
    stop: () => {
      phase = "stopping";
      scheduler.stop();
    },
    stopWorkloads: async () => {
      await scheduler.abandon(ABANDON_LIMIT_MS);
      return eyes.stopAll((placementId, component) => (state.placements.get(placementId)?.spec.components.find((one) => one.name === component)?.stop_timeout_s ?? 10) * 1000);
    },
    logs: (placementId, component, offset, limit) => eyes.logs(placementId, component, offset, limit),
    observe: async () => {
      const { seen, blind } = await eyes.all();
      const [first] = blind;
      if (first !== undefined) throw new RuntimeAway(first.driver, first.because);
      return seen.map((item) => item.component);
    },
  };
}
