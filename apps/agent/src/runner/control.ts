/**
 * The runner's socket: 0600, one JSON document per line, a bound on every line. Who can open it is who can read the
 * state directory; there is no other check, and so nothing here may execute anything but this component's stop.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import type { ControlMessage, ControlRequest, RunState } from "./run-state.ts";
import { hasEnded } from "./run-state.ts";

const MAX_LINE_CHARS = 4_096;

export interface ControlServer {
  /** Tells subscribers, and everyone who waits for a stop once it has ended. */
  announce(state: RunState): void;
  /** Resolves when everything said has been handed over, or the peer does not care. */
  close(): Promise<void>;
}

export interface ControlDeps {
  readonly state: () => RunState;
  readonly stop: (timeoutMs: number) => void;
}

/** `path` is relative to the working directory: a socket's address has room for 107 bytes, a state directory may not. */
export async function listenControl(path: string, { state, stop }: ControlDeps): Promise<ControlServer> {
  const sockets = new Set<Socket>();
  const subscribers = new Set<Socket>();
  const stopWaiters = new Map<Socket, number[]>();

  const send = (socket: Socket, message: ControlMessage): void => void socket.write(`${JSON.stringify(message)}\n`);

  const handle = (socket: Socket, line: string): void => {
    const request = parseRequest(line);
    if (request === undefined) return void socket.destroy();
    if (request.op === "stop") {
      stop(request.timeoutMs);
      if (!hasEnded(state())) return void stopWaiters.set(socket, [...(stopWaiters.get(socket) ?? []), request.id]);
    }
    if (request.op === "subscribe") subscribers.add(socket);
    send(socket, { id: request.id, state: state() });
  };

  const server = createServer((socket) => {
    sockets.add(socket);
    let rest = "";
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE_CHARS) return void socket.destroy();
      for (const line of lines) handle(socket, line);
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      subscribers.delete(socket);
      stopWaiters.delete(socket);
    });
  });
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  chmodSync(path, 0o600);

  const announce = (now: RunState): void => {
    for (const socket of subscribers) send(socket, { state: now });
    if (!hasEnded(now)) return;
    for (const [socket, ids] of stopWaiters) for (const id of ids) send(socket, { id, state: now });
    stopWaiters.clear();
  };
  const close = async (): Promise<void> => {
    server.close();
    await Promise.all([...sockets].map((socket) => new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      socket.end(() => socket.destroy());
    })));
  };
  return { announce, close };
}

function parseRequest(line: string): ControlRequest | undefined {
  try {
    const value = JSON.parse(line) as Partial<Record<"id" | "op" | "timeoutMs", unknown>>;
    if (typeof value.id !== "number") return undefined;
    if (value.op === "status" || value.op === "subscribe") return { id: value.id, op: value.op };
    if (value.op === "stop" && typeof value.timeoutMs === "number") return { id: value.id, op: "stop", timeoutMs: value.timeoutMs };
    return undefined;
  } catch {
    return undefined;
  }
}
