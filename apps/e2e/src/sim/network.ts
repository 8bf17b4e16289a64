/**
 * The network between masters, agents and operators: it delays, drops, duplicates and reorders, and cuts links in one
 * direction or both. What leaves a sender is a copy, as bytes would be. A message into a cut link is lost, or held
 * like a packet in a queue somewhere and delivered when the link heals, long after its sender gave up.
 */
import { SkepError, below, type ErrorCode, type Rng } from "@skep/core";
import { ProcessKilled, type SimProcess } from "./process.ts";
import type { World } from "./world.ts";

/** Nobody answered in time, or nobody was there. The caller knows nothing of what happened at the other end. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
}

export interface Call<T> {
  readonly from: { readonly name: string; readonly process: SimProcess };
  readonly to: { readonly name: string; readonly process: () => SimProcess | undefined };
  readonly what: string;
  readonly timeoutMs: number;
  readonly handle: () => Promise<T>;
}

export interface Network {
  call<T>(call: Call<T>): Promise<T>;
  /** Cuts the link in this direction; a star is anybody. */
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  isCut(from: string, to: string): boolean;
  healAll(): void;
  /** No more drops, duplicates and long delays. */
  calm(): void;
  /** Told of every message that chance took away, or held up for longer than anybody waits. */
  onDrop(listener: (from: string, to: string) => void): void;
}

const DROP = 0.02;
const DUPLICATE = 0.03;
const SLOW = 0.02;
const HELD = 0.7;
/** How long what was held still takes once the link is back: long enough to arrive after its successors. */
const HELD_DELAY_MS = 240_000;

const copy = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T));
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function createNetwork(world: World): Network {
  const rng: Rng = world.rng("network");
  const cuts = new Set<string>();
  const held: { readonly link: string; readonly deliver: () => void }[] = [];
  const dropListeners: ((from: string, to: string) => void)[] = [];
  let rough = true;

  const chance = (share: number): boolean => rough && rng.float() < share;
  const delayMs = (slow: boolean): number => (slow ? 1_000 + below(rng, 30_000) : 1 + below(rng, 80));
  const isCut = (from: string, to: string): boolean => cuts.has(`${from}>${to}`) || cuts.has(`${from}>*`) || cuts.has(`*>${to}`);

  /** One message, one way. */
  const send = (from: string, to: string, arrive: () => void): void => {
    const slow = chance(SLOW);
    const travel = (): void => void world.after(delayMs(slow), arrive);
    const tell = (): void => dropListeners.forEach((listener) => listener(from, to));
    // Later than its sender waits is as good as lost.
    if (slow) tell();
    if (isCut(from, to)) {
      if (chance(HELD)) held.push({ link: `${from}>${to}`, deliver: () => void world.after(below(rng, HELD_DELAY_MS), arrive) });
      return;
    }
    if (chance(DROP)) return tell();
    travel();
    if (chance(DUPLICATE)) world.after(below(rng, 20_000), travel);
  };

  const release = (): void => {
    for (const item of held.splice(0)) {
      const [from, to] = item.link.split(">") as [string, string];
      if (isCut(from, to)) held.push(item);
      else item.deliver();
    }
  };

  return {
    isCut,
    cut: (from, to) => void cuts.add(`${from}>${to}`),
    heal: (from, to) => {
      cuts.delete(`${from}>${to}`);
      release();
    },
    healAll: () => {
      cuts.clear();
      release();
    },
    calm: () => {
      rough = false;
    },
    onDrop: (listener) => void dropListeners.push(listener),
    call: <T>({ from, to, what, timeoutMs, handle }: Call<T>): Promise<T> =>
      from.process.port(what, () =>
        new Promise<T>((resolve, reject) => {
          const giveUp = world.after(timeoutMs, () => reject(new NoAnswer(`${what}: no answer within ${timeoutMs} ms`)));
          const answer = (settle: () => void): void =>
            send(to.name, from.name, () => {
              giveUp();
              settle();
            });
          send(from.name, to.name, () => {
            const target = to.process();
            if (target === undefined || !target.alive()) return answer(() => reject(new NoAnswer(`${what}: connection refused`)));
            handle().then(
              (value) => {
                const bytes = copy(value);
                if (target.alive()) answer(() => resolve(bytes));
              },
              (error: unknown) => {
                if (error instanceof ProcessKilled || !target.alive()) return;
                const sent = error instanceof SkepError ? new SkepError(error.code as ErrorCode, error.detail) : new SkepError("internal", messageOf(error));
                answer(() => reject(sent));
              },
            );
          });
        }),
      ),
  };
}
