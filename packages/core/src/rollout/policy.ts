/** How carefully a change in place goes through its placements. What is not said has a safe answer. */
export interface RolloutPolicy {
  /** Placements that may be between versions at once: a number, or a share of them as "25%". Too large: a bad version takes down what it reaches; too small: slow. */
  readonly maxParallel: number | string;
  /** How long a placement must be seen running, unchanged, before it counts. Too short: a slow crash passes; too long: slow. */
  readonly minHealthyS: number;
  /** How long nothing may move before the rollout is called failed. Too short: a slow pull fails a good release; too long: a silent host holds everybody up. */
  readonly progressDeadlineS: number;
  /** Size of the first wave; 0 = like any other. */
  readonly canary: number;
  /** False: stop after the canary and wait for a person. */
  readonly autoPromote: boolean;
  readonly autoRollback: boolean;
}

/** What a request or a deployment says of it; the rest is the default's. */
export type RolloutWish = { readonly [K in keyof RolloutPolicy]?: RolloutPolicy[K] | undefined };

export const DEFAULT_ROLLOUT: RolloutPolicy = Object.freeze({
  maxParallel: "25%", minHealthyS: 0, progressDeadlineS: 600, canary: 0, autoPromote: true, autoRollback: true,
});

/** Going back was decided already: it does not go back once more, and does not linger. */
export const ROLLBACK_WISH: RolloutWish = Object.freeze({ minHealthyS: 0, autoRollback: false });
/** Stopping and starting protect nothing by being slow: nothing runs afterwards, or nothing did before. */
export const AT_ONCE: RolloutWish = Object.freeze({ maxParallel: "100%", canary: 0, autoRollback: false });

/** Later wishes win over earlier ones. */
export function rolloutPolicy(...wishes: readonly (RolloutWish | undefined)[]): RolloutPolicy {
  const given = wishes.flatMap((wish) => Object.entries(wish ?? {}).filter(([, value]) => value !== undefined));
  return { ...DEFAULT_ROLLOUT, ...(Object.fromEntries(given) as Partial<RolloutPolicy>) };
}

/** A share is rounded down, as caution has it, and is never nobody. */
export function maxInFlight({ maxParallel }: Pick<RolloutPolicy, "maxParallel">, total: number): number {
  const wanted = typeof maxParallel === "number" ? maxParallel : Math.floor((Number.parseInt(maxParallel, 10) / 100) * total);
  return Math.max(1, Math.min(total, wanted));
}

export const waveSize = (policy: RolloutPolicy, wave: number, total: number): number =>
  wave === 1 && policy.canary > 0 ? Math.min(policy.canary, total) : maxInFlight(policy, total);

/** How many waves it takes when nobody is left out: for people, never for decisions. */
export function countWaves(policy: RolloutPolicy, total: number): number {
  if (total === 0) return 0;
  const first = waveSize(policy, 1, total);
  return 1 + Math.ceil((total - first) / maxInFlight(policy, total));
}
