/**
 * Operators under test: random operations with one Idempotency-Key each, repeated under that key until an answer
 * comes, the way the CLI does it. What they were promised is written down, to be held against the ledger at the end.
 */
import { below, uuidv7, type Clock, type Rng } from "@skep/core";
import type { Api } from "./api.ts";

export interface Promised {
  readonly what: string;
  readonly key: string;
  readonly lifecycleIds: readonly string[];
  /** Opens more rows, wave by wave. */
  readonly rolloutId: string | null;
}

export interface Operators {
  /** Runs until `stop` resolves its promise; resolves when every request has its answer. */
  run(): Promise<void>;
  stop(): void;
  readonly promised: readonly Promised[];
  readonly refused: ReadonlyMap<string, number>;
  /** Requests that needed more than one try. */
  retries(): number;
}

/** Only a bound for failure: masters are down for as long as a start takes, one after another. */
const ANSWERED_WITHIN_MS = 120_000;

export function createOperators(options: { api: () => Api; clock: Clock; rng: Rng; deployments: readonly string[]; hosts: readonly string[]; lanes: number; spec: (rng: Rng) => unknown }): Operators {
  const { clock, rng } = options;
  const promised: Promised[] = [];
  const refused = new Map<string, number>();
  let stopping = false;
  let retries = 0;

  const answered = async (path: string, body: unknown): Promise<{ status: number; body: any; key: string }> => {
    const key = uuidv7(clock.now(), rng);
    const askedMs = clock.mono();
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) retries += 1;
      if (clock.mono() - askedMs > ANSWERED_WITHIN_MS) throw new Error(`${path} had no answer in ${attempt} tries and ${ANSWERED_WITHIN_MS} ms`);
      try {
        const answer = await options.api().post(path, body, { "idempotency-key": key });
        if (answer.status < 500 && answer.body?.code !== "request_in_progress" && answer.status !== 429) return { ...answer, key };
      } catch {
        // The master was killed under the request: whether it was accepted is what the repetition finds out.
      }
      await clock.sleep(50);
    }
  };

  const pick = <T>(list: readonly T[]): T => list[below(rng, list.length)]!;

  const lane = async (own: readonly string[]): Promise<void> => {
    while (!stopping) {
      const name = pick(own);
      const [what, path, body] = operation(name);
      const answer = await answered(path, body);
      if (answer.status === 202) promised.push({ what: `${what} ${name}`, key: answer.key, lifecycleIds: answer.body.lifecycle_ids, rolloutId: answer.body.rollout_id });
      else refused.set(answer.body.code, (refused.get(answer.body.code) ?? 0) + 1);
      await clock.sleep(below(rng, 60));
    }
  };

  const operation = (name: string): [string, string, unknown] => {
    const roll = rng.float();
    if (roll < 0.45) return ["mutate", `/v1/deployments/${name}/mutate`, { env: { ROUND: String(below(rng, 1_000_000)) } }];
    if (roll < 0.55) return ["teardown", `/v1/deployments/${name}/teardown`, {}];
    return ["deploy", "/v1/deployments", { name, spec: options.spec(rng), placement: { hosts: options.hosts }, reconcile: "report", replace: rng.float() < 0.5 }];
  };

  return {
    promised, refused,
    retries: () => retries,
    stop: () => void (stopping = true),
    run: async () => {
      const shares = Array.from({ length: options.lanes }, (_, index) => options.deployments.filter((_name, at) => at % options.lanes === index));
      await Promise.all(shares.filter((share) => share.length > 0).map(lane));
    },
  };
}
