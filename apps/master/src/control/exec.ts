/**
 * Running a command in a component, the ledger's part. Invariants: that somebody runs something is committed before
 * anything is sent, and if that cannot be written nothing runs (faults F53); one Idempotency-Key sends one command; the
 * ledger never holds the command line, its input or its output (docs/decisions/0013).
 */
import { SkepError, decideExec, traceFacts, uuidv7, type DeploymentRecord, type ExecPlace, type HostRecord, type PlacementId, type PlacementView } from "@skep/core";
import type { ExecEndFrame, ExecRequestJson } from "@skep/protocol";
import type { ControlDeps, OperatorContext } from "../ports.ts";
import { accept } from "./accept.ts";

export interface BegunExec {
  readonly id: string;
  readonly host: HostRecord;
  readonly placementId: PlacementId;
  readonly component: string;
  readonly deployment: DeploymentRecord;
  readonly program: string;
  readonly context: OperatorContext;
  readonly startedMs: number;
}

export interface EndedExec extends ExecEndFrame {
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

export interface ExecControl {
  /** Throws whatever refuses it; once it returns, the start is in the audit log. */
  beginExec(deployment: string, request: ExecRequestJson, context: OperatorContext): Promise<BegunExec>;
  /** Writes the end down; false when that could not be done. Never throws. */
  endExec(begun: BegunExec, end: EndedExec): Promise<boolean>;
}

/** Long enough for a failover of the database's; the operator waits meanwhile. */
const WRITE_TRIES = 4;
const WRITE_AGAIN_MS = 1_000;
const MAX_PROGRAM_CHARS = 255;

export function createExecControl(deps: ControlDeps): ExecControl {
  const { store, clock, rng, logger } = deps;

  const placesOf = async (views: readonly PlacementView[]): Promise<ExecPlace[]> =>
    Promise.all(views.map(async ({ placement, hostName, observed }) => ({
      placementId: placement.id, hostName,
      // Several places are only listed, and a list needs no capabilities.
      capabilities: views.length > 1 ? [] : ((await store.findHostView(placement.hostId))?.report?.capabilities ?? []),
      states: Object.fromEntries((observed?.components ?? []).map((component) => [component.name, component.state])),
    })));

  const audited = (request: ExecRequestJson): Record<string, string | number> => ({
    program: programOf(request), arguments: request.command.length - 1, argv_sha256: deps.hash(request.command), timeout_s: request.timeout_s,
    stdin: request.stdin_base64 === undefined ? 0 : Buffer.byteLength(request.stdin_base64, "base64"),
  });

  return {
    beginExec: async (ref, request, context) => {
      const deployment = await store.findDeployment(ref);
      if (deployment === undefined) throw new SkepError("deployment_not_found", `no deployment ${ref}`);
      const onHost = request.host === undefined ? undefined : await store.findHost(request.host);
      if (request.host !== undefined && onHost === undefined) throw new SkepError("host_not_found", `no host ${request.host}`);
      const [all, generations] = await Promise.all([store.listPlacements({ deploymentId: deployment.id }), store.listGenerations(deployment.id)]);
      const latest = Math.max(0, ...generations.map((item) => item.generation));
      const spec = (await store.findGeneration(deployment.id, latest))?.spec;
      const views = all.filter((view) => onHost === undefined || view.placement.hostId === onHost.id);
      const decision = decideExec({ deployment: deployment.name, components: spec?.components.map((one) => one.name) ?? [], places: await placesOf(views), component: request.component, host: onHost?.name });
      if (decision.kind === "refuse") {
        if (decision.code === "exec_not_allowed") await recordDenial(decision.place!, decision.code);
        throw new SkepError(decision.code, decision.detail, decision.errors === undefined ? {} : { errors: decision.errors });
      }
      const view = views.find((item) => item.placement.id === decision.place.placementId)!;
      const host = await store.findHost(view.placement.hostId);
      if (host === undefined) throw new SkepError("host_not_found", `host ${view.hostName} is gone`);
      const begun: BegunExec = {
        id: uuidv7(clock.now(), rng), host, placementId: view.placement.id, component: decision.component, deployment, program: programOf(request), context, startedMs: clock.mono(),
      };
      const reply = await accept(deps, context, async (tx) => {
        await tx.appendAudit({ actor: context.actor, action: "exec.start", subject: subjectOf(begun), outcome: "allowed", requestId: context.requestId, detail: { ...factsOf(begun), ...audited(request) } });
        await tx.appendEvent({ ...aboutOf(begun), kind: "exec.started", severity: "info", message: `${begun.program} is run in ${deployment.name}/${begun.component} on ${host.name}`, data: { exec_id: begun.id, actor: context.actor } });
        return { status: 200, body: { exec_id: begun.id } };
      });
      if (reply.replayed) throw new SkepError("exec_already_sent", `It was sent as ${reply.body.exec_id}.`);
      return begun;

      async function recordDenial(place: ExecPlace, code: string): Promise<void> {
        // The refusal stands whether or not it can be written down.
        await store.transaction((tx) => tx.appendAudit({
          actor: context.actor, action: "exec.start", subject: `placement:${place.placementId}`, outcome: "denied", requestId: context.requestId,
          detail: { code, deployment: deployment!.name, host: place.hostName, ...audited(request) },
        })).catch((err: unknown) => logger.error({ err, request_id: context.requestId, ...traceFacts(context.traceparent) }, "a refused command could not be audited"));
      }
    },

    endExec: async (begun, end) => {
      const how = end.exit_code !== undefined ? `exit code ${end.exit_code}` : end.signal !== undefined ? `killed by ${end.signal}` : (end.error?.code ?? "unknown");
      const detail = {
        ...factsOf(begun), duration_ms: Math.round(clock.mono() - begun.startedMs), stdout_bytes: end.stdoutBytes, stderr_bytes: end.stderrBytes, truncated_bytes: end.truncated_bytes,
        ...(end.exit_code === undefined ? {} : { exit_code: end.exit_code }), ...(end.signal === undefined ? {} : { signal: end.signal }), ...(end.error === undefined ? {} : { error: end.error.code }),
      };
      for (let tries = 1; ; tries++) {
        try {
          await store.transaction(async (tx) => {
            await tx.appendAudit({ actor: begun.context.actor, action: "exec.end", subject: subjectOf(begun), outcome: "allowed", requestId: begun.context.requestId, detail });
            await tx.appendEvent({ ...aboutOf(begun), kind: "exec.ended", severity: "info", message: `${begun.program} in ${begun.deployment.name}/${begun.component} on ${begun.host.name} ended: ${how}`, data: { exec_id: begun.id, actor: begun.context.actor } });
          });
          return true;
        } catch (err) {
          if (tries >= WRITE_TRIES) {
            logger.error({ err, exec_id: begun.id, ...detail, ...traceFacts(begun.context.traceparent) }, "the end of a command could not be audited; that it began is");
            return false;
          }
          await clock.sleep(WRITE_AGAIN_MS);
        }
      }
    },
  };
}

const programOf = ({ command }: ExecRequestJson): string => command[0]!.slice(0, MAX_PROGRAM_CHARS);
const subjectOf = (begun: BegunExec): string => `placement:${begun.placementId}`;
const factsOf = (begun: BegunExec): Record<string, string> => ({ exec_id: begun.id, deployment: begun.deployment.name, component: begun.component, host: begun.host.name });
const aboutOf = (begun: BegunExec) => ({ hostId: begun.host.id, deploymentId: begun.deployment.id, placementId: begun.placementId });
