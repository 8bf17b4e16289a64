/**
 * Networks. A service without any is on the placement's own network; only where `default` is spoken of, or a service
 * needs a name there beside its component's, does that network get an entry of its own (`default`).
 */
import type { ContainerSpec, NetworkSpec, VolumeSpec } from "@skep/core";
import type { Context } from "./context.ts";
import type { Place } from "./fault.ts";
import { checkKeys } from "./keys.ts";
import { child, isEmpty } from "./read.ts";
import type { Entry, MapTree, Tree } from "./tree.ts";

type Joined = NonNullable<ContainerSpec["networks"]>[number];

export interface ServiceNetworks {
  readonly mode?: "host" | "none";
  /** undefined: none are named, so it is on the default one. */
  readonly joined?: readonly Joined[];
}

export function readServiceNetworks(context: Context, service: MapTree): ServiceNetworks {
  const { reader, notes } = context;
  const modeTree = child(service, "network_mode");
  const networks = child(service, "networks");
  if (modeTree !== undefined && networks !== undefined) reader.refuse("clash", service.entries.get("networks")!.key, "network_mode and networks exclude each other");
  const mode = reader.text(modeTree);
  if (modeTree !== undefined && mode !== undefined) {
    if (mode === "host" || mode === "none") return { mode };
    if (mode !== "bridge") return reader.refuse("unsupported_value", modeTree, `network_mode ${mode} is not supported: host, none or bridge`) ?? {};
    notes.warn(modeTree, "bridge is taken as the deployment's own network, not the engine's shared one");
  }
  if (networks === undefined) return {};
  const names = networks.kind === "map" ? [...networks.entries].map(([name, { key, value }]) => ({ name, place: key as Place, aliases: aliasesOf(context, value) })) : reader.texts(networks).map(({ text, place }) => ({ name: text, place: place as Place, aliases: [] as string[] }));
  const joined = names.flatMap(({ name, place, aliases }): Joined[] => {
    if (name !== "default" && !context.networks.has(name)) return reader.refuse("unknown_reference", place, `there is no network ${name}: declare it under the top-level networks`) ?? [];
    return [{ name, ...(aliases.length === 0 ? {} : { aliases }) }];
  });
  return joined.length === 0 ? {} : { joined };
}

function aliasesOf({ reader, notes }: Context, value: Tree): string[] {
  if (isEmpty(value)) return [];
  const map = reader.map(value);
  if (map === undefined) return [];
  checkKeys(notes, map, "service_network");
  return reader.texts(child(map, "aliases")).map(({ text }) => text);
}

/** The same names on every network the component is on. */
export const withAliases = (joined: readonly Joined[], aliases: readonly string[]): Joined[] =>
  joined.map((network) => (aliases.length === 0 ? network : { ...network, aliases: [...new Set([...(network.aliases ?? []), ...aliases])] }));

export function readNetworks(context: Context): Record<string, NetworkSpec> {
  return readShared(context, context.networks, "network", "bridge", (map) => (context.reader.boolean(child(map, "internal")) === true ? { internal: true } : {}));
}
export function readVolumes(context: Context): Record<string, VolumeSpec> {
  return readShared(context, context.volumes, "volume", "local", () => ({}));
}

/** What networks and volumes have in common: they are the placement's own, or exist on the host already. */
function readShared<T extends { external?: string }>(context: Context, entries: ReadonlyMap<string, Entry>, kind: "network" | "volume", driver: string, own: (map: MapTree) => object): Record<string, T> {
  const { reader, notes } = context;
  return Object.fromEntries([...entries].map(([key, { value }]): [string, T] => {
    const map = isEmpty(value) ? undefined : reader.map(value);
    if (map === undefined) return [key, {} as T];
    checkKeys(notes, map, kind);
    const external = child(map, "external");
    // The old form, `external: { name: … }`, says both.
    const oldName = external?.kind === "map" ? child(external, "name") : undefined;
    const isExternal = external?.kind === "map" || (reader.boolean(external) ?? false);
    const name = reader.text(child(map, "name"));
    const driverTree = child(map, "driver");
    const asked = reader.text(driverTree);
    if (isExternal) {
      if (driverTree !== undefined) reader.refuse("clash", driverTree, `an external ${kind} exists already, with a driver of its own`);
      if (child(map, "internal") !== undefined) reader.refuse("clash", child(map, "internal")!, `an external ${kind} exists already, as it is`);
      return [key, { external: reader.text(oldName) ?? name ?? key } as T];
    }
    if (name !== undefined) reader.refuse("unsupported_value", child(map, "name")!, `Skep names a deployment's ${kind}s itself, so that two placements never share one: leave name out, or add external: true for one that is on the host`);
    if (driverTree !== undefined && asked !== undefined && asked !== driver) reader.refuse("unsupported_value", driverTree, `the ${kind} driver ${asked} is not supported: ${driver}`);
    return [key, own(map) as T];
  }));
}
