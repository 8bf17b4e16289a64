/**
 * What a deployment asks a host to run. The spec is desired state: it carries no identity, no secret value and no
 * observation, so that its hash means "the same request" wherever it is computed.
 */
export const DRIVERS = ["process", "noop"] as const;
export type DriverName = (typeof DRIVERS)[number];

export const RESTART_POLICIES = ["always", "on_failure", "never"] as const;
export type RestartPolicy = (typeof RESTART_POLICIES)[number];

export interface PortSpec {
  /** Name used in `PORT_<NAME>` and by probes. */
  readonly name: string;
  /** The port inside the workload; absent = the allocated host port is used. */
  readonly container?: number | undefined;
  /** A fixed host port; absent = the agent allocates a free one in 10000–60000. */
  readonly host?: number | undefined;
  readonly protocol: "tcp" | "udp";
}

export type ProbeSpec = {
  /** Time between probes, ms. */
  readonly interval_ms: number;
  /** Longest a single probe may take, ms. */
  readonly timeout_ms: number;
  /** Consecutive successes before the component is called healthy. */
  readonly success_threshold: number;
  /** Consecutive failures before the component is called unhealthy. */
  readonly failure_threshold: number;
} & (
  | { readonly type: "tcp"; readonly port: string | number }
  | { readonly type: "http"; readonly port: string | number; readonly path: string }
  | { readonly type: "exec"; readonly command: readonly string[] }
);

export interface ComponentSpec {
  readonly name: string;
  /** argv: element 0 is the program. Never given to a shell. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Working directory; absent = a directory of its own under the agent's state. */
  readonly working_dir?: string | undefined;
  readonly ports: readonly PortSpec[];
  readonly restart: { readonly policy: RestartPolicy; readonly max?: number | undefined };
  /** Names of components that must be started (and healthy, if probed) before this one. */
  readonly depends_on: readonly string[];
  readonly probe?: ProbeSpec | undefined;
  /** Seconds between SIGTERM and SIGKILL. */
  readonly stop_timeout_s: number;
  /** Instructions for the `noop` driver, which exists for tests and rehearsals; refused by every other driver. */
  readonly noop?: NoopSpec | undefined;
}

export interface NoopSpec {
  /** How long `start` takes, ms. */
  readonly start_ms?: number | undefined;
  /** Fail at this verb with this message. */
  readonly fail?: { readonly at: "prepare" | "start" | "stop"; readonly message: string } | undefined;
}

export interface Spec {
  readonly driver: DriverName;
  readonly components: readonly ComponentSpec[];
  readonly stateful?: boolean | undefined;
  /** Grows when an operator asks for a restart: the same components, started anew. Part of each component's hash. */
  readonly restart_count?: number | undefined;
}

/** What a component's hash covers: its own spec and the restart counter, nothing of its siblings. */
export const componentIdentity = (spec: Spec, component: ComponentSpec): object => ({
  driver: spec.driver,
  component,
  restart_count: spec.restart_count ?? 0,
});
