/** What a rollout would go back to: the newest generation that is applied somewhere and that no rollout found wanting. */
import type { RolloutRecord } from "./record.ts";

export function chooseBase(applied: readonly (number | undefined)[], earlier: readonly Pick<RolloutRecord, "generation" | "status">[]): number | undefined {
  const known = applied.filter((generation) => generation !== undefined);
  const unproven = new Set(earlier.filter((rollout) => rollout.status !== "succeeded").map((rollout) => rollout.generation));
  const proven = known.filter((generation) => !unproven.has(generation));
  const from = proven.length > 0 ? proven : known;
  return from.length === 0 ? undefined : Math.max(...from);
}
