/**
 * Whether callers may be sent to a placement, and to one port of it. Healthy needs evidence for every step between a
 * caller and the program; whatever is missing is named, with what it waits for. What is not known of the network is
 * not held against anybody: a prober that has not asked yet has said nothing.
 */
import type { ReportedComponent } from "../agent/observed.ts";
import type { CircuitView } from "../breaker/breaker.ts";
import { seconds } from "../liveness/decide-host.ts";
import type { HostView, PlacementView } from "../ports/store.ts";
import type { PortSpec } from "../spec/spec.ts";
import type { Instant, Timings } from "../time.ts";

/** What the master that answers knows beside the ledger. */
export interface JudgeContext {
  readonly now: Instant;
  /** When this master began to listen: silence before that is its own. */
  readonly listeningSince: Instant;
  readonly timings: Pick<Timings, "suspectAfterMs">;
}

/** Why nobody is sent to the placement at all; undefined = its host and what it wants are in order. */
export function placementProblem(view: PlacementView, host: HostView | undefined, circuit: CircuitView | undefined, context: JudgeContext): string | undefined {
  return stopping(view) ?? hostProblem(view, host, circuit) ?? observationProblem(view, host, context);
}

function stopping({ placement, observed, openRow }: PlacementView): string | undefined {
  if (placement.desired === "absent" || openRow?.operation === "teardown" || observed?.state === "tearing_down") return "it is being torn down there";
  return placement.desired === "stopped" ? `it is stopped on request: it waits for \`skep mutate ${placement.deployment} --start\`` : undefined;
}

function hostProblem({ hostName }: PlacementView, host: HostView | undefined, circuit: CircuitView | undefined): string | undefined {
  if (host === undefined) return `${hostName} is gone`;
  const { status, statusBecause } = host.host;
  if (status === "decommissioned") return `${hostName} is decommissioned`;
  if (status !== "active") return `${hostName} is ${status}${statusBecause === undefined ? "" : ` (${statusBecause})`}: it waits for the host's next heartbeat`;
  if (host.reachability?.state === "unreachable") return `no master reaches ${hostName} (${host.reachability.lastError ?? "no answer"}): it waits for a probe that is answered`;
  if (circuit?.state !== "open") return undefined;
  const until = circuit.retryInMs === undefined ? `\`skep host breaker-reset ${hostName}\` or a new pin` : `a call that succeeds, the next in ${seconds(circuit.retryInMs)}`;
  return `this master's circuit to ${hostName} is open (${circuit.because ?? "its last calls failed"}): it waits for ${until}`;
}

function observationProblem({ hostName, placement, observed }: PlacementView, host: HostView | undefined, { now, listeningSince, timings }: JudgeContext): string | undefined {
  const heard = host?.liveness?.lastHeartbeatAt;
  if (heard === undefined) return `${hostName} was never heard from: it waits for its first heartbeat`;
  if (now - heard > timings.suspectAfterMs) {
    const ours = now - listeningSince <= timings.suspectAfterMs ? ` (this master has listened for only ${seconds(Math.max(0, now - listeningSince))})` : "";
    return `${hostName} was last heard ${seconds(now - heard)} ago${ours}: it waits for its next heartbeat`;
  }
  if (observed === undefined) return `${hostName} has not reported it yet: it waits for its first report`;
  if (now - observed.observedAt > timings.suspectAfterMs) return `${hostName} could not look at it for ${seconds(now - observed.observedAt)}: it waits for a look that succeeds`;
  if (observed.state === "unknown") return `${hostName} cannot look at what runs it: it waits for its runtime to answer`;
  if (observed.state === "absent") return `it is not on ${hostName}: it waits for its deploy`;
  // A host that claims what the ledger never gave it is believed in nothing; an older generation still serves.
  if (observed.generation > placement.generation) return `${hostName} reports generation ${observed.generation}, which was never given to it: it waits for generation ${placement.generation}`;
  if (observed.epoch !== placement.epoch) return `${hostName} reports epoch ${observed.epoch}: it waits for epoch ${placement.epoch}`;
  return undefined;
}

/** Why nobody is sent to this port of a component; undefined = it is there and its probe, if any, passes. */
export function portProblem(component: ReportedComponent | undefined, port: PortSpec): string | undefined {
  if (component === undefined) return "it does not run: it waits for its deploy";
  const why = component.error === undefined ? "" : ` (${component.error})`;
  switch (component.state) {
    case "running":
      break;
    case "starting":
      return `it is starting${why}: it waits for its probe to pass`;
    case "unhealthy":
      return `it is unhealthy${why}: it waits for its probe to pass`;
    case "backoff":
      return `it has died${why}: it waits for its restart`;
    case "exited":
    case "failed":
    case "stopped":
      return `it is ${component.state}${why}: it waits for a redeploy`;
  }
  const reported = component.ports?.[port.name];
  if (reported === undefined) return `its port ${port.name} is not reported: it waits for one to be allocated`;
  if (port.host !== undefined && reported !== port.host) return `its port ${port.name} is reported as ${reported}: it waits for ${port.host}, which the spec fixes`;
  return undefined;
}
