/** Resources, restarts and the rest of `deploy`. */
import type { ComponentSpec, ResourceSpec, UpdateOrder } from "@skep/core";
import type { Context } from "./context.ts";
import { checkKeys } from "./keys.ts";
import { child } from "./read.ts";
import type { MapTree, Tree } from "./tree.ts";

const MAX_PIDS = 4_194_304;
const MAX_RESTARTS = 1_000;

export function readResources(context: Context, service: MapTree): ResourceSpec | undefined {
  const { reader } = context;
  const [limits, reservations] = [section(context, service, "limits"), section(context, service, "reservations")];
  /** The old key and the new one may both stand there only if they agree. */
  const either = <T>(read: (tree: Tree | undefined) => T | undefined, old: string, map: MapTree | undefined, key: string): T | undefined => {
    const oldTree = child(service, old);
    const [before, now] = [read(oldTree), map === undefined ? undefined : read(child(map, key))];
    if (before !== undefined && now !== undefined && before !== now) reader.refuse("clash", oldTree!, `${old} and deploy.resources differ: keep one`);
    return now ?? before;
  };
  const number = (tree: Tree | undefined): number | undefined => {
    const value = reader.number(tree);
    return tree !== undefined && value === 0 ? undefined : value;
  };
  const pids = (tree: Tree | undefined): number | undefined => {
    // -1 is Compose's word for no limit.
    if (tree?.kind === "scalar" && (String(tree.value) === "-1" || String(tree.value) === "0")) return undefined;
    return reader.integer(tree, 1, MAX_PIDS);
  };
  const resources = {
    cpus: either(number, "cpus", limits, "cpus"),
    memory_bytes: either(reader.bytes, "mem_limit", limits, "memory"),
    memory_reservation_bytes: either(reader.bytes, "mem_reservation", reservations, "memory"),
    pids: either(pids, "pids_limit", limits, "pids"),
  };
  const given = Object.entries(resources).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : (Object.fromEntries(given) as ResourceSpec);
}

function section({ reader, notes }: Context, service: MapTree, name: "limits" | "reservations"): MapTree | undefined {
  const deploy = child(service, "deploy");
  const resources = deploy?.kind === "map" ? reader.map(child(deploy, "resources")) : undefined;
  if (resources !== undefined) checkKeys(notes, resources, "resources");
  const map = resources === undefined ? undefined : reader.map(child(resources, name));
  if (map !== undefined) checkKeys(notes, map, name);
  return map;
}

export function readRestart(context: Context, service: MapTree): ComponentSpec["restart"] {
  const { reader } = context;
  const tree = child(service, "restart");
  const policy = restartPolicy(context, service);
  if (tree === undefined) return policy ?? { policy: "never" };
  if (policy !== undefined) reader.refuse("clash", tree, "restart and deploy.restart_policy exclude each other: keep one");
  const text = reader.text(tree) ?? "no";
  const retries = /^on-failure(?::(\d{1,6}))?$/.exec(text);
  if (retries !== null) return onFailure(context, tree, retries[1] === undefined ? undefined : Number(retries[1]));
  if (text === "always" || text === "unless-stopped") return { policy: "always" };
  // YAML itself turns an unquoted no into nothing else; older ones made it false.
  if (text !== "no" && text !== "false") reader.refuse("bad_value", tree, `${text} is no restart policy: no, always, on-failure, on-failure:N or unless-stopped`);
  return { policy: "never" };
}

function onFailure({ reader }: Context, place: Tree, max: number | undefined): ComponentSpec["restart"] {
  if (max !== undefined && max > MAX_RESTARTS) reader.refuse("bad_value", place, `at most ${MAX_RESTARTS} restarts can be asked for; without a number there is no limit`);
  // 0 is the engine's word for no limit.
  return { policy: "on_failure", ...(max === undefined || max === 0 ? {} : { max }) };
}

function restartPolicy(context: Context, service: MapTree): ComponentSpec["restart"] | undefined {
  const { reader, notes } = context;
  const deploy = child(service, "deploy");
  const map = deploy?.kind === "map" ? reader.map(child(deploy, "restart_policy")) : undefined;
  if (map === undefined) return undefined;
  checkKeys(notes, map, "restart_policy");
  const tree = child(map, "condition");
  const condition = reader.text(tree) ?? "any";
  const max = reader.integer(child(map, "max_attempts"), 0, 1_000_000);
  switch (condition) {
    case "none":
      return { policy: "never" };
    case "on-failure":
      return onFailure(context, map, max);
    case "any":
      if (max !== undefined) reader.refuse("unsupported_value", child(map, "max_attempts")!, "attempts are counted with condition: on-failure only");
      return { policy: "always" };
    default:
      return reader.refuse("bad_value", tree!, `${condition} is no condition: none, on-failure or any`);
  }
}

/** What `deploy` and `scale` say of numbers and updates; the first is not the file's to say. */
export function readDeploy({ reader, notes }: Context, service: MapTree): { readonly order: UpdateOrder; readonly place: Tree } | undefined {
  const scale = child(service, "scale");
  const map = reader.map(child(service, "deploy"));
  for (const tree of [scale, map === undefined ? undefined : child(map, "replicas")]) {
    const count = reader.integer(tree, 0, 100_000);
    if (tree !== undefined && count !== undefined && count !== 1) reader.refuse("unsupported_value", tree, `a placement has one of each component, not ${count}: say on how many hosts with --replicas or --host`);
  }
  if (map === undefined) return undefined;
  checkKeys(notes, map, "deploy");
  const mode = child(map, "mode");
  if (mode !== undefined && reader.text(mode) !== "replicated") reader.refuse("unsupported_value", mode, "only the mode replicated is supported: say where with --host or --replicas");
  const update = reader.map(child(map, "update_config"));
  if (update === undefined) return undefined;
  checkKeys(notes, update, "update_config");
  const place = child(update, "order");
  const order = reader.text(place);
  if (place === undefined || order === undefined) return undefined;
  return order === "start-first" || order === "stop-first" ? { order: order === "start-first" ? "start_first" : "stop_first", place } : reader.refuse("bad_value", place, "must be start-first or stop-first");
}
