/**
 * What Skep does with each key of the published schema: every one is here, so that none is ignored by accident
 * (test/compose-schema.test.ts holds this table to the schema, both ways).
 * `true`: converted. `"no effect"`: says nothing about what runs. Any other text: refused, and what to do instead.
 */
import type { Notes } from "./fault.ts";
import type { MapTree, Tree } from "./tree.ts";

export const NO_EFFECT = "no effect";
export type KeyTable = Readonly<Record<string, string | true>>;

const OWNER = "a host's owner decides that, and Skep has no way to ask for it";
const NO_CONTROL = "Skep has no setting for it";
const LIMIT = "use cpus, mem_limit or deploy.resources";
const SECRETS = "Skep does not carry secrets yet: mount a file that is on the host, or set a variable from your environment";

export const KEYS = {
  file: {
    version: NO_EFFECT, name: true, services: true, networks: true, volumes: true,
    include: "put the services of the other file into this one", models: NO_CONTROL, secrets: SECRETS, configs: "mount a file that is on the host, or make it part of the image",
  },
  service: {
    // converted
    build: true, cap_add: true, cap_drop: true, command: true, container_name: true, cpus: true, depends_on: true, deploy: true, dns: true, entrypoint: true, env_file: true, environment: true,
    expose: true, extra_hosts: true, healthcheck: true, hostname: true, image: true, init: true, ipc: true, labels: true, mem_limit: true, mem_reservation: true, network_mode: true, networks: true,
    pid: true, pids_limit: true, ports: true, privileged: true, profiles: true, pull_policy: true, read_only: true, restart: true, scale: true, shm_size: true, stop_grace_period: true,
    stop_signal: true, tmpfs: true, user: true, volumes: true, working_dir: true,
    // for other commands than the one that runs things
    attach: NO_EFFECT, develop: NO_EFFECT,
    // refused
    annotations: "use labels", blkio_config: NO_CONTROL, cgroup: OWNER, cgroup_parent: OWNER, configs: "mount a file that is on the host, or make it part of the image",
    cpu_count: LIMIT, cpu_percent: LIMIT, cpu_shares: LIMIT, cpu_quota: LIMIT, cpu_period: LIMIT, cpu_rt_period: LIMIT, cpu_rt_runtime: LIMIT, cpuset: LIMIT,
    credential_spec: NO_CONTROL, device_cgroup_rules: OWNER, devices: OWNER, dns_opt: NO_CONTROL, dns_search: "use full names", domainname: "use hostname",
    extends: "write the service out, or share its keys with an anchor and <<", external_links: "put both into one file, or use an external network", gpus: OWNER, group_add: "use user: UID:GID",
    isolation: NO_CONTROL, label_file: "write the labels here", links: "services of a file reach each other by their names: leave it out, or use networks with aliases",
    logging: "the agent keeps and rotates the logs: see `skep logs`", mac_address: NO_CONTROL, mem_swappiness: LIMIT, memswap_limit: LIMIT, models: NO_CONTROL,
    oom_kill_disable: NO_CONTROL, oom_score_adj: NO_CONTROL, platform: "name an image of that platform by its digest, and hosts of that kind with --constraint",
    post_start: "make it part of the image's entrypoint", pre_stop: "make it part of the image's handling of its stop signal", provider: NO_CONTROL, pull_refresh_after: "use pull_policy: always",
    runtime: OWNER, secrets: SECRETS, security_opt: OWNER, stdin_open: "nobody is at a terminal there", storage_opt: NO_CONTROL, sysctls: OWNER, tty: "nobody is at a terminal there", ulimits: OWNER,
    use_api_socket: OWNER, userns_mode: OWNER, uts: OWNER, volumes_from: "name the volumes in both services",
  },
  depends_on: { condition: true, required: true, restart: "components are restarted one by one: use `skep mutate NAME --restart`" },
  deploy: {
    replicas: true, resources: true, restart_policy: true, update_config: true, mode: true,
    endpoint_mode: NO_CONTROL, labels: "use the service's labels", placement: "say where with --host, --replicas and --constraint", rollback_config: "use `skep rollback`",
  },
  update_config: {
    order: true, parallelism: "how many hosts change at once is said to skep, not in the file", delay: NO_CONTROL, failure_action: NO_CONTROL, monitor: NO_CONTROL, max_failure_ratio: NO_CONTROL,
  },
  restart_policy: { condition: true, max_attempts: true, delay: "the agent waits longer after each failure by itself", window: "the agent judges that by itself" },
  resources: { limits: true, reservations: true },
  limits: { cpus: true, memory: true, pids: true },
  reservations: { memory: true, cpus: "Skep reserves memory only: use limits", devices: OWNER, generic_resources: NO_CONTROL },
  healthcheck: { disable: true, test: true, interval: true, timeout: true, retries: true, start_period: true, start_interval: true },
  env_file: { path: true, required: true, format: true },
  port: { target: true, published: true, host_ip: true, protocol: true, name: true, mode: NO_EFFECT, app_protocol: NO_EFFECT },
  mount: { type: true, source: true, target: true, read_only: true, bind: true, volume: true, tmpfs: true, consistency: NO_EFFECT, image: "images are not mounted: copy the files into the image that needs them" },
  mount_bind: { create_host_path: true, propagation: NO_CONTROL, recursive: NO_CONTROL, selinux: OWNER },
  mount_volume: { nocopy: NO_CONTROL, subpath: NO_CONTROL, labels: NO_CONTROL },
  mount_tmpfs: { size: true, mode: NO_CONTROL },
  service_network: {
    aliases: true, interface_name: NO_CONTROL, ipv4_address: "addresses are given by the engine: use names", ipv6_address: "addresses are given by the engine: use names",
    link_local_ips: NO_CONTROL, mac_address: NO_CONTROL, driver_opts: OWNER, priority: NO_CONTROL, gw_priority: NO_CONTROL,
  },
  network: {
    internal: true, external: true, name: true, driver: true, driver_opts: OWNER, ipam: "addresses are given by the engine", enable_ipv4: NO_CONTROL, enable_ipv6: NO_CONTROL,
    attachable: NO_CONTROL, labels: NO_CONTROL,
  },
  volume: { external: true, name: true, driver: true, driver_opts: OWNER, labels: NO_CONTROL },
} as const satisfies Readonly<Record<string, KeyTable>>;

/** Refuses the keys that are valid Compose and not ours. Unknown ones are the schema's to refuse. */
export function checkKeys(notes: Notes, map: MapTree, context: keyof typeof KEYS): void {
  const table: KeyTable = KEYS[context];
  for (const [name, { key, value }] of map.entries) {
    const verdict = Object.hasOwn(table, name) ? table[name] : undefined;
    if (typeof verdict !== "string" || verdict === NO_EFFECT || asksForNothing(name, value)) continue;
    notes.refuse("unsupported_key", key, `${name} is not supported: ${verdict}`);
  }
}

/** `privileged: false`, `logging:`, `devices: []` say what is so anyhow. Turning IPv4 off is something to ask for. */
function asksForNothing(name: string, value: Tree): boolean {
  if (name === "enable_ipv4") return false;
  if (value.kind === "list") return value.items.length === 0;
  if (value.kind === "map") return value.entries.size === 0;
  return value.value === null || value.value === false;
}
