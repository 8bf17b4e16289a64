/**
 * The driver's end of a runner's socket. Every question has a timeout: a runner that is stopped or swapped out must
 * not hold up a look at the host. The socket is reached through /proc/self/fd, because an address has 107 bytes.
 */
import { open } from "node:fs/promises";
import { connect } from "node:net";
import type { Socket } from "node:net";
import type { Clock } from "@skep/core";
import type { ControlMessage, RunState } from "../../runner/run-state.ts";

export interface RunnerLink {
  readonly isOpen: boolean;
  /** Rejects when the runner does not answer in time or is gone. */
  status(timeoutMs: number): Promise<RunState>;
  /** Resolves with the final state. Rejects like `status`; then the caller has to look again. */
  stop(stopTimeoutMs: number, answerTimeoutMs: number): Promise<RunState>;
  close(): void;
}

/** `onState` hears every change of state, `onGone` once when the runner or the link ends. */
export async function connectRunner(directory: string, socketName: string, timeoutMs: number, clock: Clock, onState: (state: RunState) => void, onGone: () => void): Promise<RunnerLink> {
  const socket = await openSocket(directory, socketName, timeoutMs, clock);
  const waiting = new Map<number, (state: RunState | undefined) => void>();
  let nextId = 1;
  let isOpen = true;
  let rest = "";

  const receive = (line: string): void => {
    const message = parseMessage(line);
    if (message === undefined) return void socket.destroy();
    if (message.id === undefined) return onState(message.state);
    waiting.get(message.id)?.(message.state);
    waiting.delete(message.id);
  };
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) receive(line);
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    isOpen = false;
    for (const give of waiting.values()) give(undefined);
    waiting.clear();
    onGone();
  });
  // Links live as long as components; they must not keep an agent that wants to exit.
  socket.unref();

  const ask = async (request: object, answerMs: number): Promise<RunState> => {
    if (!isOpen) throw new Error("the runner has gone");
    const id = nextId++;
    const over = new AbortController();
    const answer = new Promise<RunState | undefined>((resolve) => waiting.set(id, resolve));
    socket.write(`${JSON.stringify({ ...request, id })}\n`);
    const timeout = clock.sleep(answerMs, over.signal).then(() => undefined);
    const state = await Promise.race([answer, timeout]);
    over.abort();
    waiting.delete(id);
    if (state === undefined) throw new Error(isOpen ? `the runner did not answer within ${answerMs} ms` : "the runner has gone");
    return state;
  };

  const link: RunnerLink = {
    get isOpen() {
      return isOpen;
    },
    status: (answerMs) => ask({ op: "status" }, answerMs),
    stop: (stopTimeoutMs, answerMs) => ask({ op: "stop", timeoutMs: stopTimeoutMs }, answerMs),
    close: () => socket.destroy(),
  };
  try {
    onState(await ask({ op: "subscribe" }, timeoutMs));
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return link;
}

/** A runner of another version, or not a runner at all, must cost its link and not the agent. */
function parseMessage(line: string): ControlMessage | undefined {
  try {
    const message = JSON.parse(line) as ControlMessage;
    return typeof message.state.state === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}

async function openSocket(directory: string, socketName: string, timeoutMs: number, clock: Clock): Promise<Socket> {
  const handle = await open(directory, "r");
  const over = new AbortController();
  try {
    const socket = connect({ path: `/proc/self/fd/${handle.fd}/${socketName}` });
    const connected = new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    connected.catch(() => {}); // it may lose the race and fail later
    const timeout = clock.sleep(timeoutMs, over.signal).then(() => Promise.reject(new Error("timeout")));
    timeout.catch(() => {});
    try {
      await Promise.race([connected, timeout]);
    } catch (error) {
      socket.on("error", () => {}).destroy();
      throw error;
    }
    return socket;
  } finally {
    over.abort();
    await handle.close();
  }
}
