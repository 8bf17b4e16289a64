/**
 * Commands run in components at the master's request. Invariants: nothing runs unless this host's own configuration
 * allows it at that moment; at most MAX_RUNNING at once, beside jobs and beats and never in their way; a command ends
 * when its time is up, when nobody listens any more and when the agent stops; what is not passed on is counted.
 */
import { DriverError, SkepError, type AgentPhase, type Allowances, type Clock, type Driver, type ExecEnd, type Logger } from "@skep/core";
import type { ExecCommand } from "@skep/protocol";
import type { Readable } from "node:stream";
import type { Eyes } from "../executor/eyes.ts";
import { leased } from "../executor/verbs.ts";
import { createFrames } from "./frames.ts";

/** Fewer: two operators block each other; more: a script over a whole fleet's components swamps one small host. */
const MAX_RUNNING = 8;

export interface Execs {
  /** Throws SkepError for everything that can be known before the command runs; then frames, and the end as the last. */
  start(placementId: string, component: string, command: ExecCommand): Promise<Readable>;
  /** Ends what runs and takes no more. */
  stop(): void;
}

export interface ExecDeps {
  readonly eyes: Eyes;
  readonly phase: () => AgentPhase;
  readonly allowed: () => Allowances;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Because = "timeout" | "stopping" | "unheard";
type Runnable = Driver & Required<Pick<Driver, "exec">>;

export function createExecs({ eyes, phase, allowed, clock, logger }: ExecDeps): Execs {
  const running = new Set<(because: Because) => void>();
  let taken = 0;

  const admit = async (placementId: string, component: string): Promise<Runnable> => {
    const { seen: all, blind } = await eyes.all();
    const seen = all.filter((item) => item.component.labels.placementId === placementId);
    const found = seen.find((item) => item.component.labels.component === component);
    // What a blind driver runs is unknown, not absent.
    if (found === undefined && blind.length > 0) throw new SkepError("unavailable_observation", blind.map(({ driver, because }) => `${driver.name}: ${because}`).join("; "));
    if (found === undefined) {
      if (seen.length === 0) throw new SkepError("component_not_running", "Nothing of that placement is on this host.");
      throw new SkepError("unknown_component", `There is no ${component}; there are: ${seen.map((item) => item.component.labels.component).join(", ")}.`);
    }
    const { driver, component: { state } } = found;
    if (!canExec(driver)) throw new SkepError("exec_unsupported", `The ${driver.name} driver runs no commands.`);
    if (state !== "starting" && state !== "running" && state !== "unhealthy") throw new SkepError("component_not_running", `${component} is ${state}.`);
    return driver;
  };

  const run = async (driver: Runnable, placementId: string, component: string, { command, stdin_base64: stdin, timeout_s: timeoutS }: ExecCommand): Promise<Readable> => {
    const abort = new AbortController();
    let because: Because | undefined;
    const end = (why: Because): void => {
      because ??= why;
      abort.abort();
    };
    const frames = createFrames(clock, () => end("unheard"));
    running.add(end);
    const work = async (): Promise<void> => {
      const over = new AbortController();
      void clock.sleep(timeoutS * 1_000, over.signal).then(() => {
        if (!over.signal.aborted) end("timeout");
      });
      try {
        const request = { placementId, component, command, ...(stdin === undefined ? {} : { stdin: Buffer.from(stdin, "base64") }) };
        frames.end(endOf(await leased(clock, { what: `a command in ${component}`, limitMs: undefined, signal: abort.signal }, (signal) => driver.exec(request, frames.output, signal)), because, timeoutS));
      } catch (error) {
        if (!(error instanceof DriverError)) logger.error({ err: error, component }, "a command failed on our side");
        // What hung may still run; that outweighs why it was to end.
        const known = error instanceof DriverError && (because === undefined || error.code === "hung") ? { code: error.code, message: error.message } : because === undefined ? { code: "internal", message: "Something broke on the host; its agent's log has it." } : reasonOf(because, timeoutS);
        frames.end({ error: known });
      } finally {
        over.abort();
        running.delete(end);
        taken -= 1;
      }
    };
    void work();
    return frames.body;
  };

  return {
    start: async (placementId, component, command) => {
      if (phase() === "booting") throw new SkepError("agent_booting");
      if (phase() === "stopping") throw new SkepError("agent_draining");
      if (!allowed().exec) throw new SkepError("exec_not_allowed");
      if (taken >= MAX_RUNNING) throw new SkepError("too_many_execs", `${MAX_RUNNING} run already.`, { retryAfterMs: 5_000 });
      taken += 1;
      let driver: Runnable;
      try {
        driver = await admit(placementId, component);
      } catch (error) {
        taken -= 1;
        throw error;
      }
      return run(driver, placementId, component, command);
    },
    stop: () => {
      for (const end of running) end("stopping");
    },
  };
}

const canExec = (driver: Driver): driver is Runnable => driver.exec !== undefined;

function endOf(end: ExecEnd, because: Because | undefined, timeoutS: number): Parameters<ReturnType<typeof createFrames>["end"]>[0] {
  // Ended by itself before the kill reached it: then that is how it ended.
  if (because !== undefined && end.exitCode === undefined) return { error: reasonOf(because, timeoutS) };
  if (end.exitCode !== undefined) return { exit_code: end.exitCode };
  return { signal: end.signal ?? "SIGKILL" };
}

function reasonOf(because: Because, timeoutS: number): { code: string; message: string } {
  switch (because) {
    case "timeout":
      return { code: "exec_timeout", message: `It did not end within ${timeoutS} s and was killed.` };
    case "stopping":
      return { code: "agent_draining", message: "The agent is stopping; the command was killed." };
    case "unheard":
      return { code: "interrupted", message: "Nobody listened any more; the command was killed." };
  }
}
