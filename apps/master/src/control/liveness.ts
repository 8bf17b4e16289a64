/**
 * The liveness pass: age by the database's clock, judged in core, written by compare-and-set. It also owns
 * `listeningSince`: whenever this master was deaf (just started, database away, loop stalled), it starts over,
 * so that its own trouble never looks like the death of hosts (faults I14).
 */
import { addMs, decideHost, seconds, type HostView, type Instant, type ProbeResult } from "@skep/core";
import type { ControlDeps, HealthAnswer } from "../ports.ts";
import { refreshDeployment } from "./outcome.ts";
import { eachLimited } from "./sweep.ts";

const PAGE = 1_000;
const MAX_CONCURRENT_PROBES = 16;

export interface Liveness {
  livenessOnce(): Promise<{ changed: number; probed: number }>;
  listeningSince(): Instant;
  /** The database or this process was away: what was not heard meanwhile proves nothing. */
  wentDeaf(): void;
}

export async function createLiveness(deps: ControlDeps): Promise<Liveness> {
  let listeningSince = await deps.store.now();
  let lastPass = deps.clock.mono();
  let deaf = false;

  const judge = async (view: HostView, now: Instant, result: { changed: number; probed: number }): Promise<void> => {
    const { host } = view;
    const lastHeartbeatAt = view.liveness?.lastHeartbeatAt;
    let verdict = decideHost({ status: host.status, lastHeartbeatAt, probe: host.lastProbe }, listeningSince, now, deps.timings);
    if (verdict.wantsProbe) {
      result.probed += 1;
      const answer = await deps.agents.health(host);
      deps.observe?.onProbe(answer);
      const probe = probeOf(answer, now);
      if (answer.ok || answer.withheld === undefined) await deps.store.transaction((tx) => tx.recordProbe(host.id, answer.ok, answer.ok ? undefined : answer.error), { pool: "background" });
      verdict = decideHost({ status: host.status, lastHeartbeatAt, probe }, listeningSince, now, deps.timings);
    }
    if (verdict.status === host.status) return;
    const moved = await deps.store.transaction(async (tx) => {
      if (!(await tx.casHostStatus(host.id, host.status, verdict.status, verdict.because))) return false;
      await tx.appendEvent({
        kind: `host.${verdict.status}`, severity: verdict.status === "active" ? "info" : verdict.status === "unreachable" ? "error" : "warning",
        message: `host ${host.name} is ${verdict.status}: ${verdict.because}`, hostId: host.id, data: { was: host.status },
      });
      if (verdict.status === "unreachable") {
        const deployments = new Set((await tx.listPlacements({ hostId: host.id })).map((item) => item.placement.deploymentId));
        for (const id of [...deployments].sort()) await refreshDeployment(tx, id);
      }
      return true;
    }, { pool: "background" });
    if (moved) result.changed += 1;
  };

  return {
    listeningSince: () => listeningSince,
    wentDeaf: () => {
      deaf = true;
    },
    async livenessOnce() {
      const result = { changed: 0, probed: 0 };
      const { now, hosts } = await deps.store.silentHosts(deps.timings.suspectAfterMs, PAGE);
      const gap = deps.clock.mono() - lastPass;
      lastPass = deps.clock.mono();
      // A pass that comes late means that beats may have waited in our own queue.
      if (deaf || gap > deps.timings.heartbeatIntervalMs * 2) {
        deps.logger.warn({ gap_ms: gap, deaf }, `this master was deaf for up to ${seconds(gap)}: nobody is demoted until it has listened anew`);
        listeningSince = now;
        deaf = false;
      }
      await eachLimited(hosts, MAX_CONCURRENT_PROBES, (view) => judge(view, now, result));
      return result;
    },
  };
}

/**
 * An open circuit is an opinion of ours and no evidence of the host's; the call that really failed, when it did, is
 * (faults: a breaker never decides about liveness).
 */
function probeOf(answer: HealthAnswer, now: Instant): ProbeResult | undefined {
  if (answer.ok) return { at: now, ok: true };
  if (answer.withheld === undefined) return { at: now, ok: false, error: answer.error };
  const { failedAgoMs } = answer.withheld;
  return failedAgoMs === undefined ? undefined : { at: addMs(now, -failedAgoMs), ok: false, error: answer.error };
}
