/**
 * One probe, once: resolves with undefined when it passed, else with what was wrong. Never rejects, never outlives
 * its limit, leaves no socket and no process behind. Whoever runs the component says where it is and how a command is
 * run in it (`ProbeTarget`), so the process runner and the docker driver ask the same question in the same words.
 * TLS and gRPC are loaded by the first probe that needs them: a runner is paid once per component, and most have
 * neither (measured, resident set of Node 20 with a runner's flags: 44 MB bare, +2 MB with node:tls, +11 MB with gRPC).
 */
import type { AbortSignalLike, Clock, ProbeSpec } from "@skep/core";
import { requestStatus } from "./probe-http.ts";
import { openConnection } from "./probe-socket.ts";

export interface ProbeTarget {
  /** Where the component's ports are reached from here. */
  readonly host: string;
  /** The ports there by name, as numbers to connect to. A probe that gives a number is taken at its word. */
  readonly ports: Readonly<Record<string, number>>;
  /** Runs a command in the component: undefined = it ended with 0, else what was wrong. Ends with the signal. */
  readonly exec: (command: readonly string[], stop: AbortSignalLike) => Promise<string | undefined>;
}

/** What is asked of one port. */
export interface PortTarget {
  readonly host: string;
  readonly port: number;
}

/** `limitMs`: what is left of the caller's own time, when that may be less than the probe's. An abort counts as a failure whose text nobody will see. */
export async function probeOnce(probe: ProbeSpec, target: ProbeTarget, clock: Clock, stop: AbortSignalLike, limitMs = Number.POSITIVE_INFINITY): Promise<string | undefined> {
  const allowedMs = Math.min(probe.timeout_ms, limitMs);
  if (stop.aborted) return "stopped";
  if (allowedMs <= 0) return "no time was left to probe it";
  const over = new AbortController();
  const onStop = (): void => over.abort();
  stop.addEventListener("abort", onStop, { once: true });
  const verdict = attempt(probe, target, over.signal).catch((error: unknown) => `the probe failed: ${error instanceof Error ? error.message : String(error)}`);
  const timeout = clock.sleep(allowedMs, over.signal).then(() => (stop.aborted ? "stopped" : `no answer within ${Math.round(allowedMs)} ms`));
  const problem = await Promise.race([verdict, timeout]);
  stop.removeEventListener("abort", onStop);
  over.abort();
  return problem;
}

/** Everything it opens ends with `over`. */
async function attempt(probe: ProbeSpec, target: ProbeTarget, over: AbortSignalLike): Promise<string | undefined> {
  if (probe.type === "exec") return target.exec(probe.command, over);
  const port = typeof probe.port === "number" ? probe.port : target.ports[probe.port];
  if (port === undefined) return `the component has no port named "${probe.port}"`;
  const at = { host: target.host, port };
  switch (probe.type) {
    case "tcp":
      return (await openConnection(at, probe, over)).problem;
    case "http":
      return requestStatus(at, probe, over);
    case "grpc":
      return (await import("./probe-grpc.ts")).checkServing(at, probe, over);
  }
}
