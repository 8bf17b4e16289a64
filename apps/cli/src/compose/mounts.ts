/**
 * `volumes` and `tmpfs` of a service. A bind is converted like everything else: whether a host's path may be mounted is
 * for the host's owner to say, at the master and at the agent (core's decideAllowances).
 */
import type { MountSpec } from "@skep/core";
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import type { Context } from "./context.ts";
import { checkKeys } from "./keys.ts";
import { child } from "./read.ts";
import type { MapTree, Tree } from "./tree.ts";
import { parseBytes } from "./units.ts";

export interface PlacedMount {
  readonly mount: MountSpec;
  readonly place: Tree;
  /** A volume that the service alone has, without a name in the file. */
  readonly anonymous?: true;
}

/** Modes that were written for other engines or other times, and change nothing. */
const MODES_WITHOUT_EFFECT = new Set(["rw", "cached", "delegated", "consistent"]);

export function readMounts(context: Context, component: string, service: MapTree): PlacedMount[] {
  const { reader } = context;
  const mounts = [
    ...(reader.list(child(service, "volumes"))?.items ?? []).map((item) => (item.kind === "map" ? longMount(context, component, item) : shortMount(context, component, item))),
    ...reader.texts(child(service, "tmpfs")).map(({ text, place }) => tmpfsMount(context, text, place)),
  ].filter((mount) => mount !== undefined);
  const targets = new Map<string, Tree>();
  for (const { mount: { target }, place } of mounts) {
    const other = targets.get(target);
    if (other !== undefined) reader.refuse("clash", place, `${target} is mounted already at ${context.notes.locate(other)}`);
    targets.set(target, place);
  }
  return mounts;
}

/** [SOURCE:]TARGET[:MODE] */
function shortMount(context: Context, component: string, item: Tree): PlacedMount | undefined {
  const { reader } = context;
  const text = reader.text(item);
  if (text === undefined) return undefined;
  const parts = text.split(":");
  if (text.includes("\\") || (/^[A-Za-z]$/.test(parts[0]!) && parts[2]?.startsWith("/") === true)) return reader.refuse("unsupported_value", item, "Windows paths are not supported");
  if (parts.length > 3 || parts.includes("")) return reader.refuse("bad_value", item, `${JSON.stringify(text)} is not SOURCE:TARGET, or SOURCE:TARGET:ro`);
  const [source, target, mode] = parts.length === 1 ? [undefined, parts[0]!, undefined] : (parts as [string, string, string | undefined]);
  const modes = (mode ?? "rw").split(",");
  const unknown = modes.find((word) => word !== "ro" && !MODES_WITHOUT_EFFECT.has(word));
  if (unknown !== undefined) return reader.refuse("unsupported_value", item, `the mode ${unknown} is not supported: ro, or nothing`);
  const readOnly = modes.includes("ro");
  if (source === undefined) return anonymousMount(context, component, target, readOnly, item);
  return /^[./~]/.test(source) ? bindMount(context, source, target, readOnly, item) : volumeMount(context, source, target, readOnly, item);
}

function longMount(context: Context, component: string, item: MapTree): PlacedMount | undefined {
  const { reader, notes } = context;
  checkKeys(notes, item, "mount");
  const type = reader.text(child(item, "type"));
  const target = reader.text(child(item, "target"));
  const source = reader.text(child(item, "source"));
  const readOnly = reader.boolean(child(item, "read_only")) ?? false;
  if (type === undefined) return undefined;
  if (type !== "volume" && type !== "bind" && type !== "tmpfs") return reader.refuse("unsupported_value", child(item, "type")!, `mounts of type ${type} are not supported: volume, bind or tmpfs`);
  if (target === undefined) return reader.refuse("bad_value", item, "a mount needs a target");
  for (const [key, context_] of [["bind", "mount_bind"], ["volume", "mount_volume"], ["tmpfs", "mount_tmpfs"]] as const) {
    const options = reader.map(child(item, key));
    if (options === undefined) continue;
    if (key !== type) reader.refuse("clash", item.entries.get(key)!.key, `a mount of type ${type} takes no options of ${key}`);
    else checkKeys(notes, options, context_);
  }
  if (type === "tmpfs") {
    if (source !== undefined) reader.refuse("clash", child(item, "source")!, "a tmpfs has no source");
    if (readOnly) reader.refuse("unsupported_value", child(item, "read_only")!, "a tmpfs that cannot be written is of no use");
    const options = child(item, "tmpfs");
    const size = options?.kind === "map" ? reader.bytes(child(options, "size")) : undefined;
    return absolute(context, target, item) ? { mount: { type: "tmpfs", target, ...(size === undefined ? {} : { size_bytes: size }) }, place: item } : undefined;
  }
  if (type === "bind") return source === undefined ? reader.refuse("bad_value", item, "a bind needs a source") : bindMount(context, source, target, readOnly, item);
  return source === undefined ? anonymousMount(context, component, target, readOnly, item) : volumeMount(context, source, target, readOnly, item);
}

const absolute = ({ reader }: Context, target: string, place: Tree): boolean => target.startsWith("/") || (reader.refuse("bad_value", place, `${target} must be an absolute path in the container`) ?? false);
const access = (readOnly: boolean): { read_only?: true } => (readOnly ? { read_only: true } : {});

function bindMount(context: Context, source: string, target: string, readOnly: boolean, place: Tree): PlacedMount | undefined {
  const { reader, folder, notes } = context;
  if (source.startsWith("~")) return reader.refuse("unsupported_value", place, "~ is a home directory of this machine, not of the host: write the path there");
  if (!source.startsWith("/") && folder === undefined) return reader.refuse("bad_value", place, "a Compose file from stdin has no folder that a relative path could begin at: use -f FILE");
  if (!absolute(context, target, place)) return undefined;
  const path = resolve(folder ?? "/", source);
  if (!source.startsWith("/")) notes.warn(place, `${source} is taken as ${path} on the host: nothing is copied there`);
  return { mount: { type: "bind", source: path, target, ...access(readOnly) }, place };
}

function volumeMount(context: Context, source: string, target: string, readOnly: boolean, place: Tree): PlacedMount | undefined {
  if (!context.volumes.has(source)) return context.reader.refuse("unknown_reference", place, `there is no volume ${source}: declare it under the top-level volumes, or begin a path with ./`);
  return absolute(context, target, place) ? { mount: { type: "volume", volume: source, target, ...access(readOnly) }, place } : undefined;
}

/** Its name is made of what it is for, so that the next deploy finds the same one. */
function anonymousMount(context: Context, component: string, target: string, readOnly: boolean, place: Tree): PlacedMount | undefined {
  if (!absolute(context, target, place)) return undefined;
  const digest = createHash("sha256").update(`${component}\0${target}`).digest("hex").slice(0, 12);
  return { mount: { type: "volume", volume: `anonymous-${digest}`, target, ...access(readOnly) }, place, anonymous: true };
}

/** PATH[:size=64m] */
function tmpfsMount(context: Context, text: string, place: Tree): PlacedMount | undefined {
  const [target = "", ...rest] = text.split(":");
  let size: number | undefined;
  for (const option of rest.join(":").split(",").filter((word) => word !== "" && word !== "rw")) {
    const [name, value = ""] = option.split("=");
    if (name !== "size") return context.reader.refuse("unsupported_value", place, `the tmpfs option ${name} is not supported: size is`);
    size = parseBytes(value);
    if (size === undefined) return context.reader.refuse("bad_value", place, `${JSON.stringify(value)} is not a size such as 64m`);
  }
  return absolute(context, target, place) ? { mount: { type: "tmpfs", target, ...(size === undefined ? {} : { size_bytes: size }) }, place } : undefined;
}
