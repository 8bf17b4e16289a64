/**
 * The rollout pass: goes on with every open rollout, as core decides. Any number of masters run it; each step is taken
 * under the deployment's lock, decided anew there, and written by compare-and-set, so that a step is taken once and a
 * master killed between two of them costs nothing.
 */
import { SkepError, decideRollout, type LifecycleRow, type RolloutRecord, type Tx } from "@skep/core";
import type { ControlDeps } from "../ports.ts";
import { accept } from "./accept.ts";
import type { RolloutControl } from "./control.ts";
import { refreshDeployment } from "./outcome.ts";
import { loadFacts } from "./rollout-facts.ts";
import { takeStep, turnBack, type StepEffects } from "./rollout-steps.ts";

const PAGE = 50;

export interface RolloutWakes {
  /** Rows were opened. */
  readonly dispatch: () => void;
  /** A row is to be stopped: told at once where it can be. */
  readonly tellCancel: (row: LifecycleRow) => void;
  /** There may be more to decide. */
  readonly rollouts: () => void;
}

export function createRollouts(deps: ControlDeps, wakes: RolloutWakes): RolloutControl & { rolloutOnce(): Promise<{ looked: number; stepped: number }> } {
  const after = (effects: StepEffects): void => {
    if (effects.opened > 0) wakes.dispatch();
    for (const row of effects.toCancel) wakes.tellCancel(row);
    if (effects.more) wakes.rollouts();
  };

  /** Looks without a lock first: most looks find nothing to do, and heartbeats want that lock too. */
  const advance = async (seen: RolloutRecord): Promise<boolean> => {
    const glance = decideRollout(seen, (await loadFacts(deps.store, seen)).members, await deps.store.now(), deps.policy);
    if (glance.step.kind === "wait" && glance.members === seen.members) return false;
    const effects = await deps.store.transaction(async (tx) => {
      const deployment = await tx.lockDeployment(seen.deploymentId);
      const rollout = await tx.findRollout(seen.id);
      if (deployment === undefined || rollout === undefined) return undefined;
      const facts = await loadFacts(tx, rollout);
      const decision = decideRollout(rollout, facts.members, await tx.now(), deps.policy);
      if (decision.step.kind === "wait" && decision.members === rollout.members) return undefined;
      return takeStep(tx, deps, { rollout, deployment, facts, decision });
    }, { pool: "background" });
    if (effects === undefined) return false;
    after(effects);
    return true;
  };

  const openOf = async (tx: Tx, ref: string): Promise<RolloutRecord> => {
    const found = await tx.findDeployment(ref);
    if (found === undefined) throw new SkepError("deployment_not_found", `no deployment ${ref}`);
    await tx.lockDeployment(found.id);
    const [last] = await tx.listRollouts({ deploymentId: found.id, newestFirst: true, limit: 1 });
    const [open] = await tx.listRollouts({ deploymentId: found.id, open: true, limit: 1 });
    if (open === undefined) throw new SkepError("rollout_not_open", last === undefined ? `${found.name} has had no rollout` : `the last rollout of ${found.name} (generation ${last.generation}) is ${last.status}`);
    return open;
  };

  const move = async (tx: Tx, rollout: RolloutRecord, action: "pause" | "resume", context: Parameters<RolloutControl["pauseRollout"]>[1]): Promise<void> => {
    const paused = action === "pause";
    const because = `${paused ? "paused" : "resumed"} by ${context.actor}`;
    // After the canary, going on means having looked at it.
    const promotes = rollout.wave === 1 && !rollout.members.some((member) => member.state === "open");
    const done = await tx.casRollout(rollout.id, rollout.version, paused ? { status: "paused", because } : { status: "running", because, progressed: true, ...(promotes ? { promoted: true } : {}) });
    if (!done) throw new SkepError("request_in_progress", "the rollout moved at the same moment", { retryAfterMs: 100 });
    await tx.appendEvent({ kind: paused ? "rollout.paused" : "rollout.resumed", severity: "info", message: `rollout of ${rollout.deployment} generation ${rollout.generation} is ${because}`, deploymentId: rollout.deploymentId, data: { rollout_id: rollout.id } });
  };

  const decide = (action: "pause" | "resume" | "abort"): RolloutControl["pauseRollout"] => async (ref, context) => {
    let effects: StepEffects | undefined;
    const reply = await accept(deps, context, async (tx) => {
      const rollout = await openOf(tx, ref);
      // The earlier copies are on their way out: there is no longer a place where all of it could go back to.
      if (action === "abort" && rollout.members.some((member) => member.state === "leaving" && member.rowId !== undefined)) throw new SkepError("rollout_not_open", `the rollout of ${rollout.deployment} has passed everywhere, and what was to leave is being torn down; skep rollback ${rollout.deployment} brings an earlier generation back`);
      if (rollout.status === "rolling_back") throw new SkepError("rollout_not_open", `the rollout of ${rollout.deployment} is going back already; that is neither paused nor aborted`);
      await tx.appendAudit({ actor: context.actor, action: `rollout.${action}`, subject: `rollout:${rollout.id}`, outcome: "allowed", requestId: context.requestId, detail: { deployment: rollout.deployment, generation: rollout.generation } });
      const isSo = action === "pause" ? rollout.status === "paused" : action === "resume" && rollout.status === "running";
      if (action === "abort") {
        const deployment = (await tx.lockDeployment(rollout.deploymentId))!;
        effects = await turnBack(tx, deps, { rollout, deployment, members: rollout.members, because: `aborted by ${context.actor}`, back: rollout.baseGeneration !== undefined });
      } else if (!isSo) await move(tx, rollout, action, context);
      await refreshDeployment(tx, rollout.deploymentId);
      const now = (await tx.findRollout(rollout.id)) ?? rollout;
      return { status: 200, body: { rollout_id: now.id, deployment_id: now.deploymentId, status: now.status, because: now.because } };
    });
    if (effects !== undefined) after(effects);
    wakes.rollouts();
    return reply;
  };

  return {
    pauseRollout: decide("pause"),
    resumeRollout: decide("resume"),
    abortRollout: decide("abort"),
    async rolloutOnce() {
      const counts = { looked: 0, stepped: 0 };
      let last: string | undefined;
      for (;;) {
        const page = await deps.store.listRollouts({ open: true, limit: PAGE, after: last });
        for (const rollout of page) {
          counts.looked += 1;
          try {
            if (await advance(rollout)) counts.stepped += 1;
          } catch (error) {
            // Somebody was faster on one placement, or the database is away: the next round looks anew.
            if (!(error instanceof SkepError)) throw error;
            deps.logger.warn({ code: error.code, rollout_id: rollout.id, detail: error.detail }, "a rollout could not be taken further now");
          }
        }
        if (page.length < PAGE) return counts;
        last = page.at(-1)?.id;
      }
    },
  };
}

