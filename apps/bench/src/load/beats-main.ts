/** A process full of agents: opens their connections, and beats in a closed loop, each agent one beat at a time. */
import { serveCommands } from "../stage/worker.ts";
import { beatBody, type BeatAgent } from "./beat-body.ts";
import { openConnection, type AgentCredentials, type Connection, type Target } from "./connection.ts";

export type LoadAgent = AgentCredentials & BeatAgent;

export interface OpenCommand {
  readonly target: Target;
  readonly agents: readonly LoadAgent[];
  /** Handshakes under way at once. */
  readonly atOnce: number;
}
export interface RoundCommand {
  readonly beatsPerAgent: number;
  /** Every beat carries another snapshot. */
  readonly changing: boolean;
}
export interface RoundResult {
  readonly beats: number;
  readonly ms: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

let open: { readonly agent: LoadAgent; readonly connection: Connection }[] = [];
let change = 1;
/** Larger than in any earlier run against the same database: an older beat would be acknowledged and not taken. */
let seq = Date.now();

serveCommands({
  async open({ target, agents, atOnce }: OpenCommand) {
    const started = performance.now();
    const left = [...agents];
    const lane = async (): Promise<void> => {
      for (let agent = left.shift(); agent !== undefined; agent = left.shift()) {
        const connection = await openConnection(target, agent);
        open.push({ agent, connection });
        // At once, as an agent does: a server gives a connection that asks for nothing a few seconds.
        await connection.post("/swarm/heartbeat", beatBody(agent, seq, change));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
    return { ms: performance.now() - started };
  },
  async round({ beatsPerAgent, changing }: RoundCommand): Promise<RoundResult> {
    const statuses: Record<string, number> = {};
    const latencies: number[] = [];
    seq += 1_000;
    const started = performance.now();
    await Promise.all(open.map(async ({ agent, connection }) => {
      for (let beat = 0; beat < beatsPerAgent; beat++) {
        const body = beatBody(agent, seq + beat, changing ? change + beat : change);
        const sent = performance.now();
        const { status } = await connection.post("/swarm/heartbeat", body);
        latencies.push(performance.now() - sent);
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
    }));
    const ms = performance.now() - started;
    if (changing) change += beatsPerAgent;
    latencies.sort((a, b) => a - b);
    const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
    return { beats: latencies.length, ms, statuses, p50Ms: at(0.5), p99Ms: at(0.99) };
  },
  close() {
    for (const { connection } of open) connection.close();
    open = [];
  },
});
