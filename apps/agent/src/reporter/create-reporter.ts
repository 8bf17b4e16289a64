/**
 * The reporter: tells the master what is, again and again, and takes what it answers. Invariants: nothing is said
 * before the session's floors are durable; every beat carries all that is unacknowledged, oldest first; nothing the
 * network or the master does ends the loop; a delta leaves the outbox only by an acknowledgement.
 */
import { DEFAULT_HEARTBEAT_INTERVAL_MS, MAX_HEARTBEAT_INTERVAL_MS, MIN_HEARTBEAT_INTERVAL_MS, NO_TRACES, jitter, toIso, type AgentPhase, type BootReport, type Clock, type Logger, type Rng, type Tracer } from "@skep/core";
import { HEARTBEAT_BUDGET_BYTES, MAX_DELTAS, registerReply } from "@skep/protocol";
import type { Executor } from "../executor/types.ts";
import type { AgentMetrics } from "../metrics/create-metrics.ts";
import { createBoundedLook } from "./bounded-look.ts";
import type { Answer, Channel } from "./channel.ts";
import { packReport } from "./pack.ts";
import { readReply } from "./read-reply.ts";
import { takeCancels, takeOffered } from "./take-offered.ts";
import { createSendTraces } from "./trace-sends.ts";

/** The reporter's way out and who it speaks as; changes when the identity does. */
export interface Link {
  readonly hostId: string;
  readonly channel: Channel;
  readonly cert: { readonly sha256: string; readonly not_after: string };
}

export interface ReporterDeps {
  readonly executor: Executor;
  /** Asked before every request; undefined = not enrolled (yet). */
  readonly link: () => Link | undefined;
  readonly agentUrl: () => string | undefined;
  /** The master does not know us, or not this certificate: look whether the files say something new. */
  readonly reloadIdentity: () => Promise<void>;
  /** A new certificate, now. Resolves whether or not it worked. */
  readonly rotate: () => Promise<void>;
  /** Rotates when the certificate is due. */
  readonly rotateIfDue: () => Promise<void>;
  /** A request got through with the present certificate. */
  readonly onAccepted: () => void;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Default: none; deltas keep the trace that they have. */
  readonly tracer?: Tracer | undefined;
  readonly agentVersion: string;
  readonly hostBootId: string;
  /** What this agent can run and what its owner allows; asked at every beat, because a configuration can change. */
  readonly capabilities: () => readonly string[];
  /** How the boot sequence stands; undefined = there is none. */
  readonly boot: () => BootReport | undefined;
  /** What the machine has; a failure leaves it out of the beat. */
  readonly resources: () => Promise<Readonly<Record<string, number>>>;
  readonly failpoint?: ((name: string) => void) | undefined;
  readonly observe?: Pick<AgentMetrics, "onRegistered" | "onHeartbeat" | "onDeregistered"> | undefined;
}

export interface Reporter {
  /** Begins with a beat at once. Idempotent. */
  start(): void;
  /** Beat soon. */
  wake(): void;
  /** Beat soon, and not more often than mere changes may make it. */
  changed(): void;
  registered(): boolean;
  /** Another certificate, or another host altogether: a refusal of the old one says nothing about it. */
  identityChanged(): void;
  intervalMs(): number;
  /** One last beat with the executor's present phase, bounded by `timeoutMs`; then silence. */
  stop(timeoutMs: number): Promise<void>;
}

/** Deltas within this time share a push, and no two pushes are closer. Shorter: a push per step; longer: people wait for outcomes. */
const COALESCE_MS = 50;
/** Least time between two pushes for a mere change of what is observed (a crash-looping component must not flood). */
const CHANGE_GAP_MS = 2_000;
const JITTER_SHARE = 0.1;
const MIN_BUDGET_BYTES = 16_384;
/** While refused (403, 404), at most. Shorter hammers a master that said no; longer leaves a re-enrolled host dark. */
const MAX_STRETCH_MS = 300_000;
/** Before the first registration; doubles up to the cap. A longer cap leaves a returned host silent that long after its master is back. */
const FIRST_RETRY_MS = 250;
const FIRST_RETRY_CAP_MS = 4_000;
const LOG_EVERY = 10;

export function createReporter(deps: ReporterDeps): Reporter {
  const { executor, clock, rng, logger } = deps;
  const sends = createSendTraces({ tracer: deps.tracer ?? NO_TRACES, logger });
  const stopping = new AbortController();
  let session: number | undefined;
  let sessionHost: string | undefined;
  let seq = 0;
  let intervalMs = DEFAULT_HEARTBEAT_INTERVAL_MS;
  let budgetBytes = HEARTBEAT_BUDGET_BYTES;
  let refusals = 0;
  /** Whether any master has ever registered this process, and how often that was tried. */
  let heard = false;
  let tries = 0;
  let quietUntilMs = 0;
  let lastPostMs = Number.NEGATIVE_INFINITY;
  let nap: AbortController | undefined;
  let woken = false;
  let wakeAtMs = Number.POSITIVE_INFINITY;
  let running: Promise<void> | undefined;
  let posting: Promise<unknown> = Promise.resolve();
  const look = createBoundedLook((limitMs) => executor.snapshot(limitMs), clock);

  const wake = (): void => {
    woken = true;
    nap?.abort();
  };
  const wakeIn = (ms: number): void => {
    const atMs = Math.max(clock.mono() + ms, quietUntilMs);
    if (atMs >= wakeAtMs) return;
    wakeAtMs = atMs;
    nap?.abort();
  };
  // Somebody waits for an outcome: it goes at once unless a push has just gone. That a job runs can wait for company.
  executor.onDelta(() => wakeIn(executor.deltas(1)[0]?.status === "running" ? COALESCE_MS : Math.max(0, lastPostMs + COALESCE_MS - clock.mono())));
  const changed = (): void => wakeIn(Math.max(COALESCE_MS, lastPostMs + CHANGE_GAP_MS - clock.mono()));
  executor.onChange(changed);

  // Not runtime's `loop`: the master may shorten the interval within a reply, and that must hold for the very next beat.
  async function run(): Promise<void> {
    let dueMs = clock.mono();
    while (!stopping.signal.aborted) {
      const before = intervalMs;
      const onTime = clock.mono() >= dueMs;
      woken = false;
      wakeAtMs = Number.POSITIVE_INFINITY;
      const startMs = clock.mono();
      await round();
      if (!heard) tries += 1;
      if (onTime || intervalMs !== before) dueMs = startMs + jitter(everyMs(), JITTER_SHARE, rng);
      await waitUntil(() => Math.min(dueMs, refusals === 0 ? wakeAtMs : dueMs));
    }
  }

  function everyMs(): number {
    // Nobody has told us an interval yet: soon again, because a master that is just starting must not wait long for its hosts.
    if (!heard) return Math.min(refusals === 0 ? FIRST_RETRY_CAP_MS : MAX_STRETCH_MS, FIRST_RETRY_MS * 2 ** Math.min(tries, 16));
    return refusals === 0 ? intervalMs : Math.min(MAX_STRETCH_MS, intervalMs * 2 ** Math.min(refusals, 16));
  }

  async function waitUntil(atMs: () => number): Promise<void> {
    while (!woken && !stopping.signal.aborted) {
      const leftMs = atMs() - clock.mono();
      if (leftMs <= 0) return;
      nap = new AbortController();
      await clock.sleep(leftMs, nap.signal);
      nap = undefined;
    }
  }

  async function round(): Promise<void> {
    try {
      posting = exchange();
      await posting;
    } catch (err) {
      logger.error({ err }, "a beat failed in an unforeseen way; the next one comes as usual");
    }
  }

  async function exchange(): Promise<void> {
    const link = deps.link();
    if (link === undefined) return logger.debug({}, "not enrolled: nobody to report to");
    await deps.rotateIfDue();
    if (sessionHost !== link.hostId) session = undefined;
    if (session === undefined && !(await register())) return;
    if ((await beat()) === "stale" && (await register())) await beat();
  }

  async function register(): Promise<boolean> {
    const link = deps.link();
    if (link === undefined) return false;
    const status = await look(intervalMs);
    const { op_seq: opSeq, jobs } = executor.inventory();
    const packed = packReport({ status, jobs, deltas: [] }, budgetBytes);
    const agentUrl = deps.agentUrl();
    const answer = await post(link, "/swarm/register", {
      boot_id: executor.bootId, host_boot_id: deps.hostBootId, agent_version: deps.agentVersion, op_seq: opSeq,
      ...(agentUrl === undefined ? {} : { agent_url: agentUrl }),
      placements: packed.status.placements, jobs: packed.jobs_truncated === true ? null : packed.jobs,
    });
    if (answer.kind !== "answer" || answer.status >= 300) {
      await handleRefusal("register", answer, link);
      return false;
    }
    const reply = registerReply.safeParse(answer.json);
    if (!reply.success) {
      logger.error({ status: answer.status }, "the master's answer to the registration could not be read");
      return false;
    }
    accepted();
    // Floors first: a command of this session must find them.
    try {
      await executor.applyFloors(reply.data.floors.map((floor) => ({ placementId: floor.placement_id, epoch: floor.epoch, generation: floor.generation })));
    } catch (err) {
      logger.error({ err }, "the session's floors could not be written: no session is used until they are, but the master hears that this host lives");
      await post(link, "/swarm/heartbeat", { host_uuid: link.hostId, agent_version: deps.agentVersion, status: { deployed: false, observed_error: "the agent cannot write its journal" } });
      return false;
    }
    executor.setSession(reply.data.session_epoch);
    session = reply.data.session_epoch;
    sessionHost = link.hostId;
    heard = true;
    deps.observe?.onRegistered();
    takeInterval(reply.data.interval_ms);
    logger.info({ session, intervalMs }, "registered with the master");
    return true;
  }

  async function beat(): Promise<"done" | "stale"> {
    const link = deps.link();
    if (link === undefined || session === undefined) return "done";
    const [status, resources] = await Promise.all([look(intervalMs), deps.resources().catch(() => undefined)]);
    // Taken in one turn: the counter, the jobs and the deltas belong to one moment.
    const { op_seq: opSeq, jobs } = executor.inventory();
    const packed = packReport({ status, jobs, deltas: sends.sending(executor.deltas(MAX_DELTAS)) }, budgetBytes);
    const phase: AgentPhase = executor.phase();
    const boot = deps.boot();
    deps.failpoint?.("before_report");
    const answer = await post(link, "/swarm/heartbeat", {
      host_uuid: link.hostId, agent_version: deps.agentVersion, protocol: 1, boot_id: executor.bootId, host_boot_id: deps.hostBootId,
      session_epoch: session, seq: (seq += 1), op_seq: opSeq, sent_at: toIso(clock.now()), phase, interval_ms: Math.round(intervalMs),
      cert: link.cert, capabilities: deps.capabilities(), ...(resources === undefined ? {} : { resources }), ...(boot === undefined ? {} : { boot }), ...packed, status: { ...packed.status },
    });
    deps.observe?.onHeartbeat(answer.kind !== "answer" ? "failed" : answer.status >= 300 ? "refused" : "ok");
    if (answer.kind !== "answer" || answer.status >= 300) return (await handleRefusal("heartbeat", answer, link)) ? "stale" : "done";
    accepted();
    if (phase === "stopping") deps.observe?.onDeregistered();
    if (answer.status === 204) {
      await forget(packed.lifecycle.map((delta) => ({ delta_id: delta.delta_id, result: "applied" })));
      return "done";
    }
    const reply = readReply(answer.json);
    if (reply.unread.length > 0) logger.warn({ unread: reply.unread.slice(0, 5) }, "parts of the master's reply could not be read");
    await forget(reply.acked);
    takeInterval(reply.nextIntervalMs);
    await takeCancels(executor, reply.cancelJobs, logger);
    await takeOffered(executor, reply.pendingJobs, logger);
    if (reply.rotateCert) await deps.rotate();
    // What did not fit, or was said meanwhile, goes at once and not at the next interval.
    if (packed.lifecycle.length > 0 && reply.acked.length > 0 && executor.deltas(1).length > 0) wakeIn(COALESCE_MS);
    return "done";
  }

  /** On a full disk the deltas stay and come again as duplicates; the rest of the reply must not wait for that. */
  async function forget(results: Parameters<Executor["ack"]>[0]): Promise<void> {
    sends.acked(results);
    await executor.ack(results).catch((err: unknown) => logger.warn({ err }, "acknowledgements could not be written down"));
  }

  async function post(link: Link, path: string, body: object): Promise<Answer> {
    lastPostMs = clock.mono();
    return link.channel.post(path, body);
  }

  function accepted(): void {
    if (refusals > 0) logger.info({ after: refusals }, "the master accepts this host again");
    refusals = 0;
    deps.onAccepted();
  }

  /** Resolves true when the session is stale and only that. */
  async function handleRefusal(what: string, answer: Answer, link: Link): Promise<boolean> {
    if (answer.kind === "failed") {
      logger.warn({ what, because: answer.because }, "the master could not be reached; trying again with the next beat");
      return false;
    }
    const { status, code, detail } = answer;
    if (status === 409 && code === "session_stale") {
      session = undefined;
      return true;
    }
    if (status === 413) {
      budgetBytes = Math.max(MIN_BUDGET_BYTES, Math.floor(budgetBytes / 2));
      logger.warn({ what, budgetBytes }, "the report was too large for the master; sending less");
      wakeIn(COALESCE_MS);
    } else if (status === 429) {
      quietUntilMs = clock.mono() + (answer.retryAfterMs ?? CHANGE_GAP_MS);
      wakeIn(COALESCE_MS);
    } else if (status === 403 || status === 404) {
      if (refusals % LOG_EVERY === 0) logger.error({ what, status, code, detail, refusals: refusals + 1 }, "the master refuses this host; it goes on asking");
      if (code === "rotation_required") {
        await deps.rotate();
        if (deps.link() !== link) {
          wakeIn(COALESCE_MS);
          return false;
        }
      }
      refusals += 1;
      session = undefined;
      await deps.reloadIdentity();
    } else logger.warn({ what, status, code, detail }, "the master could not take the report; trying again with the next beat");
    return false;
  }

  function takeInterval(ms: number | undefined): void {
    if (ms !== undefined) intervalMs = Math.min(MAX_HEARTBEAT_INTERVAL_MS, Math.max(MIN_HEARTBEAT_INTERVAL_MS, ms));
  }

  return {
    start: () => {
      running ??= run();
    },
    wake,
    changed,
    registered: () => session !== undefined,
    identityChanged: () => {
      refusals = 0;
      tries = 0;
      wake();
    },
    intervalMs: () => intervalMs,
    stop: async (timeoutMs) => {
      stopping.abort();
      wake();
      const over = new AbortController();
      const limit = clock.sleep(timeoutMs, over.signal);
      const last = async (): Promise<void> => {
        await posting.catch(() => undefined);
        if (session !== undefined) await beat().catch(() => undefined);
      };
      await Promise.race([last(), limit]);
      over.abort();
    },
  };
}
