/**
 * What a deployment asks a host to run. The spec is desired state: it carries no identity, no secret value and no
 * observation, so that its hash means "the same request" wherever it is computed.
 */
export const DRIVERS = ["process", "docker", "noop"] as const;
export type DriverName = (typeof DRIVERS)[number];

export const RESTART_POLICIES = ["always", "on_failure", "never"] as const;
export type RestartPolicy = (typeof RESTART_POLICIES)[number];

export interface PortSpec {
  /** Name used in `PORT_<NAME>` and by probes. */
  readonly name: string;
  /** The port inside the workload; absent = the allocated host port is used. The docker driver needs it. */
  readonly container?: number | undefined;
  /** A fixed host port; absent = the agent (process) or the engine (docker) allocates a free one. */
  readonly host?: number | undefined;
  /** docker: the host address it is published on; absent = all. */
  readonly host_ip?: string | undefined;
  /** docker: false = known to probes and siblings by name, and not published on the host. Default true. */
  readonly publish?: boolean | undefined;
  readonly protocol: "tcp" | "udp";
}

/** Set by the agent on everything it runs, whatever a spec says: they tell whose it is. */
export const AGENT_VARIABLES = ["SKEP_PLACEMENT", "SKEP_DEPLOYMENT", "SKEP_COMPONENT", "SKEP_JOB", "SKEP_GENERATION", "SKEP_EPOCH", "SKEP_EXEC"] as const;

export const PROBE_TYPES = ["tcp", "http", "grpc", "exec"] as const;
export const PROBE_TLS = ["off", "on", "skip_verify"] as const;
/** `on` verifies against `tls_ca_pem` or the host's roots; `skip_verify` encrypts and believes anybody (defect 1-7). */
export interface ProbeTls {
  readonly tls?: (typeof PROBE_TLS)[number] | undefined;
  readonly tls_ca_pem?: string | undefined;
  /** The name the certificate must carry; absent = localhost. */
  readonly tls_server_name?: string | undefined;
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
  /** Failures before this much of the component's life do not count, ms; over at once when it was first running. Absent = 0. */
  readonly start_period_ms?: number | undefined;
} & (
  | ({ readonly type: "tcp"; readonly port: string | number } & ProbeTls)
  | ({ readonly type: "http"; readonly port: string | number; readonly path: string } & ProbeTls)
  /** The standard gRPC health service: SERVING is healthy; everything else, UNIMPLEMENTED included, is not. */
  | ({ readonly type: "grpc"; readonly port: string | number; readonly service?: string | undefined } & ProbeTls)
  /** argv inside the component: in its container, or beside its process. Never given to a shell of the host. */
  | { readonly type: "exec"; readonly command: readonly string[] }
);

export const PULL_POLICIES = ["never", "if_missing", "always"] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

/** What a container sees of storage. Named volumes belong to the placement; a bind needs the host's allowance. */
export type MountSpec =
  | { readonly type: "volume"; readonly volume: string; readonly target: string; readonly read_only?: boolean | undefined }
  | { readonly type: "bind"; readonly source: string; readonly target: string; readonly read_only?: boolean | undefined }
  | { readonly type: "tmpfs"; readonly target: string; readonly size_bytes?: number | undefined };

export interface ResourceSpec {
  /** Hard limit in processors: 0.5 is half of one. */
  readonly cpus?: number | undefined;
  /** Hard limit, bytes. */
  readonly memory_bytes?: number | undefined;
  readonly memory_reservation_bytes?: number | undefined;
  /** Most processes at once. */
  readonly pids?: number | undefined;
}

/** Everything only a container has. Refused by every driver but docker. */
export interface ContainerSpec {
  readonly image: string;
  /** Default if_missing. */
  readonly pull?: PullPolicy | undefined;
  /** Name of a credential that the host keeps (never its value). */
  readonly registry_credential?: string | undefined;
  /** Replaces the image's entrypoint; the component's `command` is then its arguments. */
  readonly entrypoint?: readonly string[] | undefined;
  readonly user?: string | undefined;
  readonly hostname?: string | undefined;
  readonly init?: boolean | undefined;
  readonly read_only?: boolean | undefined;
  readonly stop_signal?: string | undefined;
  readonly mounts?: readonly MountSpec[] | undefined;
  /** Names of the spec's networks, with extra DNS names of the component there. Absent = the placement's own network. */
  readonly networks?: readonly { readonly name: string; readonly aliases?: readonly string[] | undefined }[] | undefined;
  readonly resources?: ResourceSpec | undefined;
  readonly extra_hosts?: readonly string[] | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly shm_size_bytes?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly cap_drop?: readonly string[] | undefined;
  // Below: only where the host allows it (policy/decide-allowances.ts).
  readonly cap_add?: readonly string[] | undefined;
  readonly privileged?: boolean | undefined;
  readonly network_mode?: "host" | "none" | undefined;
  readonly pid_mode?: "host" | undefined;
  readonly ipc_mode?: "host" | undefined;
}

export interface ComponentSpec {
  readonly name: string;
  /** argv: element 0 is the program. Never given to a shell. With docker: what follows the entrypoint; empty = the image's own. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Working directory; absent = a directory of its own under the agent's state. */
  readonly working_dir?: string | undefined;
  readonly ports: readonly PortSpec[];
  readonly restart: { readonly policy: RestartPolicy; readonly max?: number | undefined };
  /** Names of components that must be running (healthy if probed; ended with 0 if run_to_completion) before this one. */
  readonly depends_on: readonly string[];
  /** It has done its work when it ends with 0: a migration, a seed. Until then it is not running as wanted. */
  readonly run_to_completion?: boolean | undefined;
  readonly probe?: ProbeSpec | undefined;
  /** Seconds between SIGTERM and SIGKILL. */
  readonly stop_timeout_s: number;
  readonly container?: ContainerSpec | undefined;
  /** Instructions for the `noop` driver, which exists for tests and rehearsals; refused by every other driver. */
  readonly noop?: NoopSpec | undefined;
}

export interface NoopSpec {
  /** How long `start` takes, ms. */
  readonly start_ms?: number | undefined;
  /** Fail at this verb with this message. */
  readonly fail?: { readonly at: "prepare" | "start" | "stop"; readonly message: string } | undefined;
}

export interface NetworkSpec {
  readonly internal?: boolean | undefined;
  readonly external?: string | undefined;
}
export interface VolumeSpec {
  readonly external?: string | undefined;
}
export const UPDATE_ORDERS = ["stop_first", "start_first"] as const;
export type UpdateOrder = (typeof UPDATE_ORDERS)[number];

export interface Spec {
  readonly driver: DriverName;
  readonly components: readonly ComponentSpec[];
  readonly stateful?: boolean | undefined;
  /** docker: networks of the placement, by name; `external` names one that exists on the host and is not ours. */
  readonly networks?: Readonly<Record<string, NetworkSpec>> | undefined;
  /** docker: named volumes of the placement. Kept at teardown unless asked otherwise. */
  readonly volumes?: Readonly<Record<string, VolumeSpec>> | undefined;
  /** How a changed component gives way to its successor. Default stop_first; start_first needs docker and no fixed host port. */
  readonly update_order?: UpdateOrder | undefined;
  /** Grows when an operator asks for a restart: the same components, started anew. Part of each component's hash. */
  readonly restart_count?: number | undefined;
}

/** What a component's hash covers: its own spec and the restart counter, nothing of its siblings. */
export const componentIdentity = (spec: Spec, component: ComponentSpec): object => ({
  driver: spec.driver,
  component,
  restart_count: spec.restart_count ?? 0,
});
