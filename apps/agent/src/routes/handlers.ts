/** What each route of the agent does, by route id. A route without a handler here does not compile. */
import { SkepError, cleanTraceparent, isName, type AgentPhase, type BootReport } from "@skep/core";
import { AGENT_ROUTES, EXEC_CONTENT_TYPE, METRICS_CONTENT_TYPE, cancelRequest, deployCommand, execCommand, mutateCommand, pendingJob, teardownCommand, type AgentHealth, type AgentRouteId, type BootReportJson, type PendingJob } from "@skep/protocol";
import { z } from "zod";
import type { Execs } from "../exec/create-execs.ts";
import type { Executor } from "../executor/types.ts";
import { invalidBody } from "./problem.ts";

export interface RouteFacts {
  readonly executor: Executor;
  readonly execs: Execs;
  readonly phase: () => AgentPhase;
  readonly boot: () => BootReport | undefined;
  readonly version: string;
  readonly hostId: () => string | undefined;
  readonly metrics: () => Promise<string>;
}

export interface RouteRequest {
  readonly body: unknown;
  /** The header's. */
  readonly traceparent?: unknown;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
}

export interface RouteReply {
  readonly status: number;
  /** JSON, raw bytes, or a stream of them. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Handlers = Readonly<Record<AgentRouteId, (request: RouteRequest) => Promise<RouteReply>>>;

/** One answer's worth of logs. */
const MAX_LOG_BYTES = 1_000_000;
const logQuery = z.object({ offset: z.coerce.number().int().min(-Number.MAX_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).default(0), limit: z.coerce.number().int().min(1).max(MAX_LOG_BYTES).default(65_536) });

export const routeIds = AGENT_ROUTES.map((route) => route.id);

export function createHandlers(facts: RouteFacts): Handlers {
  const { executor, execs, phase } = facts;
  const parse = <T>(schema: z.ZodType<T>, body: unknown): T => {
    const parsed = schema.safeParse(body);
    if (!parsed.success) throw invalidBody(parsed.error);
    return parsed.data;
  };
  const take = async (said: PendingJob, header: unknown): Promise<RouteReply> => {
    // The body's own counts: it is what an offer would say, too.
    const command: PendingJob = { ...said, traceparent: said.traceparent ?? cleanTraceparent(header) };
    if (command.operation !== "teardown" && command.dry_run === true) return { status: 200, body: await executor.dryRun(command) };
    return { status: 202, body: await executor.admit(command) };
  };
  return {
    agentDeploy: async ({ body, traceparent }) => take(pendingJob.parse(parse(deployCommand, body)), traceparent),
    agentMutate: async ({ body, traceparent }) => take(pendingJob.parse(parse(mutateCommand, body)), traceparent),
    agentTeardown: async ({ body, traceparent }) => take(pendingJob.parse(parse(teardownCommand, body)), traceparent),
    agentGetJob: async ({ params }) => {
      const job = executor.job(params["job_id"] ?? "");
      if (job === undefined) throw new SkepError("job_not_found");
      return { status: 200, body: job };
    },
    agentCancelJob: async ({ params, body }) => {
      const jobId = z.uuid().safeParse(params["job_id"]);
      if (!jobId.success) throw new SkepError("job_not_found", "The job id is not a UUID.");
      return { status: 202, body: await executor.cancel(jobId.data, parse(cancelRequest, body ?? {})) };
    },
    agentStatus: async () => ({ status: 200, body: { ...(await executor.snapshot()), phase: phase(), boot_id: executor.bootId, ...executor.inventory() } }),
    agentHealth: async () => ({ status: 200, body: healthOf(facts) }),
    agentMetrics: async () => ({ status: 200, body: await facts.metrics(), headers: { "content-type": METRICS_CONTENT_TYPE } }),
    agentExec: async ({ params, body }) => {
      const command = parse(execCommand, body);
      const placement = z.uuid().safeParse(params["placement_id"]);
      if (!placement.success || !isName(params["component"] ?? "")) throw new SkepError("unknown_component", "That is not a placement id and a component's name.");
      return { status: 200, body: await execs.start(placement.data, params["component"]!, command), headers: { "content-type": EXEC_CONTENT_TYPE } };
    },
    agentLogs: async ({ params, query }) => {
      const { offset, limit } = parse(logQuery, query);
      const placement = z.uuid().safeParse(params["placement_id"]);
      if (!placement.success || !/^[a-z0-9][a-z0-9-]{0,62}$/.test(params["component"] ?? "")) throw new SkepError("logs_not_found", "That is not a placement id and a component's name.");
      const { data, nextOffset } = await executor.logs(placement.data, params["component"]!, offset, limit);
      return { status: 200, body: Buffer.from(data), headers: { "content-type": "application/octet-stream", "x-next-offset": String(nextOffset) } };
    },
  };
}

export function healthOf({ executor, phase, boot, version, hostId }: Omit<RouteFacts, "execs" | "metrics">): AgentHealth {
  const id = hostId();
  const report = boot();
  return { status: "ok", phase: phase(), version, boot_id: executor.bootId, ...(id === undefined ? {} : { host_id: id }), ...(report === undefined ? {} : { boot: reportJson(report) }) };
}

export const reportJson = ({ members, ...report }: BootReport): BootReportJson => ({ ...report, members: members.map((member) => ({ ...member })) });
