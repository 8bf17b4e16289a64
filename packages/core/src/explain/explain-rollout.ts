/** What a deployment's newest rollout has to do with why it is as it is: where it stands, whom it refused, what a person can do. */
import type { Reason } from "../liveness/decide-health.ts";
import type { DeploymentRecord, PlacementRecord } from "../ports/records.ts";
import { isHeld, isOpenRollout, refusalOf, type RolloutRecord } from "../rollout/record.ts";

const MAX_NAMED = 10;

/** `waitingFor`: what it waits for right now, as just decided. Nothing to say of one whose outcome a later change has overtaken. */
export function explainRollout(rollout: RolloutRecord | undefined, deployment: Pick<DeploymentRecord, "name" | "generation">, waitingFor: string | undefined): Reason[] {
  if (rollout === undefined || (rollout.generation !== deployment.generation && rollout.rollbackGeneration !== deployment.generation)) return [];
  const { name } = deployment;
  const what = `The rollout of generation ${rollout.generation}`;
  const refused = rollout.members.filter((member) => member.state === "refused").slice(0, MAX_NAMED).map((member): Reason => ({
    code: "gate_refused", message: `${member.because ?? member.host}.`, next: member.rowId === undefined ? `skep logs ${name} --host ${member.host}` : `skep explain lifecycle ${member.rowId}`,
  }));
  switch (rollout.status) {
    case "running":
      return [{ code: "rollout_running", message: `${what} is in wave ${rollout.wave}${waitingFor === undefined ? "" : `; it waits for: ${waitingFor}`}.`, next: `Follow it: skep rollout status ${name} --watch. Hold it: skep rollout pause ${name}. Undo it: skep rollout abort ${name}.`, since: rollout.progressAt }];
    case "paused":
      return [{ code: "rollout_paused", message: `${what} is paused in wave ${rollout.wave}: ${rollout.because}.`, next: `Go on: skep rollout resume ${name}. Undo it: skep rollout abort ${name}.`, since: rollout.updatedAt }];
    case "rolling_back":
      return [{ code: "rollout_rolling_back", message: `${what} goes back to the spec of generation ${rollout.baseGeneration ?? "?"}: ${rollout.because}${waitingFor === undefined ? "" : `; it waits for: ${waitingFor}`}.`, next: `Wait: skep rollout status ${name} --watch.`, since: rollout.progressAt }, ...refused];
    case "rolled_back":
      return [{ code: "rollout_rolled_back", message: `${what} was rolled back: ${rollout.because}.`, next: "Correct the cause and make the change again.", since: rollout.completedAt }, ...refused];
    case "failed":
      return [{ code: "rollout_failed", message: `${what} failed: ${rollout.because}. What it refused is not tried again by itself.`, next: `Correct the cause and make the change again, or go back: skep rollback ${name} --generation N.`, since: rollout.completedAt }, ...refused];
    case "succeeded":
    case "superseded":
      return [];
  }
}

/** Why nobody repairs this placement just now, where the rollout is the reason. */
export function explainMember(rollout: RolloutRecord | undefined, placement: PlacementRecord): Reason[] {
  if (rollout === undefined) return [];
  const { deployment } = placement;
  if (isHeld(rollout, placement.id)) return [{ code: "rollout_open", message: `The rollout of generation ${rollout.generation} is ${rollout.status} and decides about it.`, next: `skep rollout status ${deployment}`, since: rollout.progressAt }];
  const leaves = isOpenRollout(rollout.status) && rollout.status !== "rolling_back" && rollout.members.some((member) => member.placementId === placement.id && member.state === "leaving" && member.rowId === undefined);
  if (leaves) return [{ code: "rollout_leaving", message: `It is torn down once the rollout of generation ${rollout.generation} has passed everywhere else; until then it runs on as it is.`, next: `skep rollout status ${deployment}`, since: rollout.createdAt }];
  const refusal = refusalOf(rollout, placement);
  return refusal === undefined ? [] : [{ code: "gate_refused", message: `The gate of its rollout refused generation ${placement.generation}: ${refusal}. It is not tried again by itself.`, next: `Correct the cause and make the change again: skep mutate ${deployment} or skep redeploy ${deployment}.`, since: rollout.completedAt }];
}
