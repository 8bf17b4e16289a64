/** Rollouts: one open at most for each deployment; one that ended never changes. */
import { isOpenRollout } from "@skep/core";
import type { Reads, Tx } from "@skep/core";
import { afterPage, byId, check, jsonCopy, type Context, type Sync } from "./state.ts";

export function rolloutReads({ state }: Context): Sync<Pick<Reads, "findRollout" | "listRollouts">> {
  return {
    findRollout: (id) => state.rollouts.get(id),
    listRollouts: (query) => {
      const found = [...state.rollouts.values()].filter(
        (rollout) => (query.deploymentId === undefined || rollout.deploymentId === query.deploymentId) && (query.open === undefined || isOpenRollout(rollout.status) === query.open),
      );
      if (query.newestFirst !== true) return afterPage(found, query);
      return found.sort((a, b) => byId(b, a)).filter((rollout) => query.after === undefined || rollout.id < query.after).slice(0, query.limit);
    },
  };
}

export function rolloutWrites(context: Context): Sync<Pick<Tx, "insertRollout" | "casRollout">> {
  const { state, policy, now } = context;
  return {
    insertRollout: (rollout) => {
      check(state.rollouts.get(rollout.id) === undefined, "rollouts_pkey");
      check(state.deployments.get(rollout.deploymentId) !== undefined, "rollouts_deployment_fk");
      for (const other of state.rollouts.values()) if (other.deploymentId === rollout.deploymentId && isOpenRollout(other.status)) return "rollout_open";
      state.rollouts.set(rollout.id, {
        ...rollout, policy: jsonCopy(rollout.policy), members: jsonCopy(rollout.members), components: jsonCopy(rollout.components), basePlacement: jsonCopy(rollout.basePlacement), rollbackGeneration: undefined,
        promoted: false, progressAt: now(), createdAt: now(), updatedAt: now(), completedAt: isOpenRollout(rollout.status) ? undefined : now(), version: 1,
      });
      context.signal("rollouts");
      return "inserted";
    },
    casRollout: (id, expectedVersion, { progressed, members, ...patch }) => {
      const rollout = state.rollouts.get(id);
      if (rollout === undefined || ((rollout.version !== expectedVersion || !isOpenRollout(rollout.status)) && policy.compareAndSet)) return false;
      state.rollouts.set(id, {
        ...rollout, ...patch,
        ...(members === undefined ? {} : { members: jsonCopy(members) }),
        ...(progressed === true ? { progressAt: now() } : {}),
        ...(patch.status !== undefined && !isOpenRollout(patch.status) ? { completedAt: now() } : {}),
        updatedAt: now(), version: rollout.version + 1,
      });
      context.signal("rollouts");
      return true;
    },
  };
}
