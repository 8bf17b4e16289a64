/**
 * Paces TLS handshakes. One costs some 3 ms of the event loop, so a fleet that reconnects at once would stall every
 * beat for seconds (performance, reconnect storm): connections wait here, before TLS, until there is a slot.
 * Invariants: at most `maxInProgress` handshakes and `perSecond` starts; a socket that waited too long is closed.
 */
import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { fullBucket, takeToken, type Clock } from "@skep/core";

export interface GateLimits {
  readonly maxInProgress: number;
  readonly perSecond: number;
  /** How long a connection may wait for its turn, ms; its client gives up about then. */
  readonly maxWaitMs: number;
}

export const DEFAULT_GATE: GateLimits = { maxInProgress: 200, perSecond: 400, maxWaitMs: 5_000 };
/** Starts in one turn of the event loop; more would be the very stall this is against. */
const BURST = 20;

export interface HandshakeGate {
  /** Full handshakes completed since the start; a keep-alive that works keeps it still. */
  readonly completed: () => number;
  readonly inProgress: () => number;
  close(): void;
}

export function gateHandshakes(server: Server, clock: Clock, limits: GateLimits): HandshakeGate {
  // The one listener there is begins TLS; it is called when a connection's turn has come.
  const begin = server.listeners("connection") as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners("connection");
  const bucketLimits = { perMinute: limits.perSecond * 60, burst: BURST };
  let bucket = fullBucket(bucketLimits, clock.mono());
  let completed = 0;
  let closed = false;
  let napping = false;
  let waiting: { readonly socket: Socket; readonly sinceMs: number }[] = [];
  /** By remote end: TLS hands us another socket object than the one that was accepted. */
  const running = new Map<string, { readonly socket: Socket; readonly sinceMs: number }>();
  const nameOf = (socket: Socket): string => `${socket.remoteAddress ?? ""} ${socket.remotePort ?? 0}`;

  const drain = (): void => {
    const now = clock.mono();
    // Only a lost event could leave an entry behind for so long; a leaked one would cost a slot for ever.
    for (const [name, entry] of running) if (now - entry.sinceMs > limits.maxWaitMs * 2) running.delete(name);
    while (waiting.length > 0 && running.size < limits.maxInProgress) {
      const next = waiting[0]!;
      if (next.socket.destroyed || now - next.sinceMs > limits.maxWaitMs) {
        waiting.shift();
        next.socket.destroy();
        continue;
      }
      const taken = takeToken(bucket, bucketLimits, now);
      bucket = taken.bucket;
      if (!taken.ok) {
        nap(taken.retryAfterMs);
        return;
      }
      waiting.shift();
      running.set(nameOf(next.socket), { socket: next.socket, sinceMs: now });
      for (const listener of begin) listener.call(server, next.socket);
    }
    if (waiting.length > 0) nap(limits.maxWaitMs / 10);
  };
  const nap = (ms: number): void => {
    if (napping || closed) return;
    napping = true;
    void clock.sleep(Math.max(1, ms)).then(() => {
      napping = false;
      if (!closed) drain();
    });
  };
  const finish = (socket: Socket): void => {
    if (running.delete(nameOf(socket)) && waiting.length > 0) drain();
  };

  server.on("connection", (socket: Socket) => {
    if (closed || waiting.length >= limits.maxInProgress * 50) {
      socket.destroy();
      return;
    }
    // TLS installs its own handler later; until then a reset must not be an uncaught error.
    socket.on("error", () => socket.destroy());
    waiting.push({ socket, sinceMs: clock.mono() });
    drain();
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    completed += 1;
    finish(socket);
  });
  server.on("tlsClientError", (_error: Error, socket: TLSSocket) => {
    finish(socket);
    socket.destroy();
    // A peer that was gone by then has no address to find its slot by.
    for (const [name, entry] of running) if (entry.socket.destroyed) running.delete(name);
    if (waiting.length > 0) drain();
  });

  return {
    completed: () => completed,
    inProgress: () => running.size,
    close: () => {
      closed = true;
      for (const { socket } of waiting) socket.destroy();
      for (const { socket } of running.values()) socket.destroy();
      waiting = [];
      running.clear();
    },
  };
}
