/** The agent's own reporter with its channel laid over the simulated network instead of TLS. */
import { createReporter, type Answer, type Executor } from "@skep/agent";
import { SkepError, type Logger, type Rng } from "@skep/core";
import { heartbeatRequest, registerRequest, type HeartbeatReply, type HeartbeatRequest, type RegisterReply, type RegisterRequest } from "@skep/protocol";
import { NoAnswer } from "./network.ts";
import type { SimProcess } from "./process.ts";

/** How the reporter reaches a master; the transport decides what happens on the way. */
export interface MasterLink {
  readonly masters: number;
  register(master: number, request: RegisterRequest): Promise<RegisterReply>;
  beat(master: number, request: HeartbeatRequest): Promise<HeartbeatReply | undefined>;
}

export interface ReporterOptions {
  readonly process: SimProcess;
  readonly executor: Executor;
  readonly link: MasterLink;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly hostId: string;
  readonly hostBootId: string;
  readonly trace: (line: string) => void;
}

/** Any certificate will do: nobody looks at it here. */
const CERT = { sha256: "0".repeat(64), not_after: "2027-01-01T00:00:00.000Z" };

export function startReporter({ process, executor, link, rng, logger, hostId, hostBootId, trace }: ReporterOptions): void {
  const nothing = (): Promise<void> => Promise.resolve();
  let master = Math.floor(rng.float() * link.masters);

  const ask = (path: string, body: unknown): Promise<RegisterReply | HeartbeatReply | undefined> =>
    path === "/swarm/register" ? link.register(master, registerRequest.parse(body)) : link.beat(master, heartbeatRequest.parse(body));

  const post = async (path: string, body: unknown): Promise<Answer> => {
    try {
      const json = await ask(path, body);
      return { kind: "answer", status: json === undefined ? 204 : 200, json, code: "", detail: "", retryAfterMs: undefined };
    } catch (error) {
      if (error instanceof SkepError) {
        trace(`${process.name} ${path}: ${error.code}`);
        return { kind: "answer", status: error.status, json: undefined, code: error.code, detail: error.detail, retryAfterMs: error.retryAfterMs };
      }
      if (!(error instanceof NoAnswer)) throw error;
      trace(`${process.name} could not report: ${error.message}`);
      master = (master + 1) % link.masters;
      return { kind: "failed", because: error.message };
    }
  };

  createReporter({
    executor, rng, logger, hostBootId,
    link: () => ({ hostId, cert: CERT, channel: { post, close: nothing } }),
    agentUrl: () => "https://10.0.0.1:8444",
    reloadIdentity: nothing, rotate: nothing, rotateIfDue: nothing, onAccepted: () => undefined,
    clock: process.clock, agentVersion: "sim", capabilities: () => ["noop"], resources: () => Promise.resolve({}), boot: () => undefined,
    failpoint: process.failpoint,
  }).start();
}
