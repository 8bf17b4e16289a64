/** What the operator listener is made of, and its limits. */
import type { Clock, Logger, Rng, Store, Timings, Tracer } from "@skep/core";
import type { Control, IdentityControl } from "../control/control.ts";
import type { MasterMetrics } from "../metrics/master-metrics.ts";
import type { AgentClient } from "../ports.ts";

export interface OperatorLimits {
  /** Per token. Too small breaks a dashboard's polling; too large lets one script occupy the database. */
  readonly requestsPerMinute: number;
  /** Host creations and bundles, per token: each costs a signature or a credential. */
  readonly hostCreationsPerMinute: number;
  /** Failed authentications and documentation pages, per address. Too small locks out a mistyped script's neighbours. */
  readonly unauthenticatedPerMinute: number;
  /** Requests worked on at once; more are told to come back. Too large and all of them time out together. */
  readonly inFlight: number;
  readonly streamsPerToken: number;
  readonly streamsTotal: number;
  /** Largest request body. A deploy is at most 1 MiB (rulings 15). */
  readonly bodyBytes: number;
}

export const DEFAULT_OPERATOR_LIMITS: OperatorLimits = {
  requestsPerMinute: 6_000,
  hostCreationsPerMinute: 600,
  unauthenticatedPerMinute: 60,
  inFlight: 200,
  streamsPerToken: 16,
  streamsTotal: 200,
  bodyBytes: 1_048_576,
};

export interface OperatorDeps {
  readonly store: Store;
  readonly control: Control;
  readonly identity: IdentityControl;
  readonly agents: AgentClient;
  readonly metrics: Pick<MasterMetrics, "render">;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Default: ids for logs and answers, nothing recorded. */
  readonly tracer?: Tracer | undefined;
  readonly timings: Timings;
  readonly version: string;
  readonly trustDomain: string;
  readonly caSha256: string;
  /** Named checks: "ok", or what is wrong in words without secrets. */
  readonly readiness: () => Promise<Readonly<Record<string, string>>>;
  readonly limits?: Partial<OperatorLimits> | undefined;
  /** Agents may live on loopback addresses: `skep up`, tests and the demo. */
  readonly allowLoopbackAgents?: boolean | undefined;
  /** Host names, besides localhost and literal addresses, under which a plain listener may be reached: a proxy's. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Given when the app will be served over TLS: lifts the Host check, whose work the certificate then does. */
  readonly tls?: TlsMaterial | undefined;
}

export interface TlsMaterial {
  readonly key: string;
  readonly cert: string;
}
