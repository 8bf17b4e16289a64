/**
 * Processes of the benchmark's own: load generators and reference servers, each with its own core time so that a
 * server's CPU is never the client's. Commands go over the IPC channel, one answer each. A worker ends with its parent.
 */
import { fork, type ChildProcess } from "node:child_process";

export interface Worker {
  readonly pid: number;
  /** Rejects with the worker's error, or when it has ended. */
  ask<T>(command: string, argument?: unknown): Promise<T>;
  stop(): Promise<void>;
}

interface Question {
  readonly id: number;
  readonly command: string;
  readonly argument: unknown;
}
type Answer = { readonly id: number; readonly result: unknown } | { readonly id: number; readonly error: string };

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** `entry` is a built module of this package that calls `serveCommands`. */
export function startWorker(entry: string): Worker {
  const child = fork(entry, [], { stdio: ["ignore", "ignore", "inherit", "ipc"], execArgv: [] });
  running.add(child);
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let next = 0;
  child.on("message", (answer: Answer) => {
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ("error" in answer) asked?.reject(new Error(answer.error));
    else asked?.resolve(answer.result as never);
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => {
      running.delete(child);
      for (const asked of waiting.values()) asked.reject(new Error(`${entry} has ended`));
      waiting.clear();
      resolve();
    });
  });
  return {
    pid: child.pid!,
    ask: (command, argument) =>
      new Promise((resolve, reject) => {
        const id = next++;
        waiting.set(id, { resolve: resolve as never, reject });
        child.send({ id, command, argument } satisfies Question, (error) => {
          if (error !== null && waiting.delete(id)) reject(error);
        });
      }),
    stop: () => {
      child.kill("SIGKILL");
      return exited;
    },
  };
}

/** The worker's side. */
export function serveCommands(handlers: Readonly<Record<string, (argument: never) => unknown>>): void {
  process.on("disconnect", () => process.exit(0));
  process.on("message", (question: Question) => {
    void (async (): Promise<Answer> => {
      try {
        return { id: question.id, result: (await handlers[question.command]!(question.argument as never)) ?? null };
      } catch (error) {
        return { id: question.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
      }
    })().then((answer) => process.send!(answer));
  });
}
