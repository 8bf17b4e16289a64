/** From a place in the spec back to the place in the Compose file that it came from, for whatever the spec is refused for later. */
import type { Place } from "./fault.ts";
import { nearest, type MapTree, type Path, type Tree } from "./tree.ts";
import type { ServiceParts } from "./service.ts";

const SERVICE_KEYS: Readonly<Record<string, readonly string[]>> = {
  command: ["command"], env: ["environment", "env_file"], working_dir: ["working_dir"], ports: ["ports", "expose"], restart: ["restart", "deploy"], depends_on: ["depends_on"], probe: ["healthcheck"], stop_timeout_s: ["stop_grace_period"],
};
const CONTAINER_KEYS: Readonly<Record<string, readonly string[]>> = {
  image: ["image"], pull: ["pull_policy"], mounts: ["volumes", "tmpfs"], networks: ["networks"], resources: ["deploy", "mem_limit", "mem_reservation", "cpus", "pids_limit"], shm_size_bytes: ["shm_size"], pid_mode: ["pid"], ipc_mode: ["ipc"],
};

export type Origin = (path: Path) => Place;

/** `parts`: in the order of the spec's components. */
export function createOrigin(file: MapTree, parts: readonly ServiceParts[]): Origin {
  return (path) => {
    const [root, kind, index, field, ...rest] = path;
    if (root !== "spec") return nearest(file, path);
    if (kind !== "components") return nearest(file, path.slice(1));
    const part = parts[Number(index)];
    if (part === undefined) return file;
    const container = field === "container";
    const name = String(container ? rest[0] : field);
    const at = container ? rest[1] : rest[0];
    if (name === "env") return part.variables.places.get(String(at)) ?? firstOf(part.service, ["environment", "env_file"]);
    if (name === "ports" && typeof at === "number") return part.ports[at]?.place ?? part.service;
    if (name === "mounts" && typeof at === "number") return part.mounts[at]?.place ?? part.service;
    const keys = container ? (CONTAINER_KEYS[name] ?? [name]) : (SERVICE_KEYS[name] ?? []);
    const tree = firstOf(part.service, keys);
    return at === undefined || tree === part.service ? tree : nearest(tree, [at]);
  };
}

const firstOf = (service: MapTree, keys: readonly string[]): Tree => keys.map((key) => service.entries.get(key)?.value).find((tree) => tree !== undefined) ?? service;
