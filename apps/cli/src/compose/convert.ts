/**
 * A Compose file as Skep's own spec. Pure but for the env files that it names: the same file, variables and options
 * give the same spec, byte for byte. Nothing of the file is executed, and nothing is left out in silence.
 */
import type { Spec } from "@skep/core";
import { specSchema } from "@skep/protocol";
import type { Context } from "./context.ts";
import { readDependencies } from "./dependencies.ts";
import { readEnvironment } from "./environment.ts";
import { createNotes, type Fault, type Notes } from "./fault.ts";
import type { Lookup } from "./interpolate.ts";
import { checkKeys } from "./keys.ts";
import { readDeploy } from "./limits.ts";
import { readMounts } from "./mounts.ts";
import { componentNames, validName } from "./names.ts";
import { readNetworks, readServiceNetworks, readVolumes, withAliases } from "./networks.ts";
import { createOrigin, type Origin } from "./origin.ts";
import { readPorts, refuseClashes } from "./ports.ts";
import { readProbe } from "./probe.ts";
import { child, createReader } from "./read.ts";
import { schemaErrors } from "./schema.ts";
import { schemaFaults } from "./schema-words.ts";
import { toComponent, type ServiceParts } from "./service.ts";
import { nearest, parseTree, plainOf, type Entry, type MapTree, type Path, type Tree } from "./tree.ts";
import { resolveVariables } from "./variables.ts";

/** What the spec allows. Checked first: everything below looks at each service beside each other. */
const MAX_SERVICES = 100;

export interface ComposeOptions {
  /** Instead of the file's. */
  readonly name?: string | undefined;
  /** The file's folder, absolute; undefined: it came from stdin. */
  readonly folder?: string | undefined;
  readonly lookup: Lookup;
  /** "*" is all of them. */
  readonly profiles: readonly string[];
  readonly ignoreBuild: boolean;
}
export type Converted =
  | { readonly kind: "converted"; readonly name: string; readonly spec: Spec; readonly warnings: Notes["warnings"]; readonly locate: (path: Path) => string }
  | { readonly kind: "refused"; readonly faults: readonly Fault[] };

export async function convertCompose(text: string, fileName: string, options: ComposeOptions): Promise<Converted> {
  const parsed = parseTree(text, fileName);
  const notes = createNotes(parsed.locate);
  const refused = (): Converted => ({ kind: "refused", faults: notes.faults.toSorted((a, b) => a.offset - b.offset) });
  if ("faults" in parsed) {
    for (const { at, message } of parsed.faults) notes.refuse("yaml", { at, path: [] }, message);
    return refused();
  }
  const name = projectName(parsed.tree, options, notes);
  const lookup: Lookup = (variable) => options.lookup(variable) ?? (variable === "COMPOSE_PROJECT_NAME" ? name : undefined);
  const tree = resolveVariables(parsed.tree, lookup, notes);
  await checkSchema(tree, notes);
  if (tree.kind !== "map") return refused();
  const done = convertFile(tree, { ...options, lookup }, notes);
  if (done === undefined || notes.faults.length > 0) return refused();
  const { spec, origin } = done;
  // What only the spec's own schema knows: lengths, numbers of things, forms of names.
  const checked = specSchema.safeParse(spec);
  if (!checked.success) {
    for (const { path, message } of checked.error.issues) notes.refuse("bad_value", origin(["spec", ...(path as (string | number)[])]), message);
    return refused();
  }
  return { kind: "converted", name: name!, spec, warnings: notes.warnings, locate: (path) => notes.locate(origin(path)) };
}

/** --name, else the file's name, else its folder's. */
function projectName(tree: Tree, { name, folder, lookup }: ComposeOptions, notes: Notes): string | undefined {
  if (name !== undefined) return name;
  const own = tree.kind === "map" ? child(tree, "name") : undefined;
  if (own !== undefined) {
    // Faults of its variables are told with all the others.
    const resolved = resolveVariables(own, lookup, createNotes(() => ""));
    if (resolved.kind !== "scalar") return undefined;
    const made = validName(String(resolved.value));
    if (made === undefined) notes.refuse("bad_value", own, `${resolved.value} cannot be made a deployment's name: give --name`);
    else if (made !== resolved.value) notes.warn(own, `the deployment is called ${made}`);
    return made;
  }
  const made = folder === undefined ? undefined : validName(folder.split("/").at(-1) ?? "");
  if (made === undefined) notes.refuse("bad_value", tree, "has no name, and none can be made of its folder: give --name, or name: in the file");
  return made;
}

async function checkSchema(tree: Tree, notes: Notes): Promise<void> {
  for (const { code, path, key, message } of schemaFaults(await schemaErrors(plainOf(tree)))) {
    const around = nearest(tree, path);
    const entry = key === undefined || around.kind !== "map" ? undefined : around.entries.get(key);
    notes.refuse(code, entry?.key ?? around, message);
  }
}

function convertFile(file: MapTree, options: ComposeOptions, notes: Notes): { spec: Spec; origin: Origin } | undefined {
  const reader = createReader(notes);
  checkKeys(notes, file, "file");
  const section = (key: string): ReadonlyMap<string, Entry> => reader.map(child(file, key))?.entries ?? new Map<string, Entry>();
  const { services, disabled } = chooseServices(section("services"), options.profiles, notes);
  if (services.size > MAX_SERVICES) {
    notes.refuse("bad_value", file.entries.get("services")!.key, `a deployment has at most ${MAX_SERVICES} components, and these are ${services.size} services`);
    return undefined;
  }
  if (services.size === 0) notes.refuse("bad_value", file.entries.get("services")?.key ?? file, disabled.size > 0 ? `no service is left: all are in profiles (${[...disabled].join(", ")}); add --profile` : "there are no services");
  const context: Context = {
    notes, reader, services, disabled, lookup: options.lookup, folder: options.folder, ignoreBuild: options.ignoreBuild,
    componentOf: componentNames(services, notes), networks: section("networks"), volumes: section("volumes"),
  };
  const maps = [...services].flatMap(([name, entry]) => (entry.value.kind === "map" ? [{ name, entry, service: entry.value }] : []));
  const probes = new Map(maps.map(({ name, service }) => [name, readProbe(context, service)]));
  const dependencies = readDependencies(context, (name) => probes.get(name) !== undefined);
  const parts = maps.map(({ name, entry, service }): { entry: Entry; part: ServiceParts; aliases: string[] } => {
    checkKeys(notes, service, "service");
    const component = context.componentOf.get(name) ?? name;
    const part: ServiceParts = {
      name: component, service, variables: readEnvironment(context, service), ports: readPorts(context, service), mounts: readMounts(context, component, service), networks: readServiceNetworks(context, service),
      probe: probes.get(name), dependsOn: dependencies.of(name).flatMap((service_) => context.componentOf.get(service_) ?? []), runsToCompletion: dependencies.runsToCompletion(name),
    };
    return { entry, part, aliases: otherNames(context, name, component, entry) };
  });
  refuseClashes(context, parts.flatMap(({ part }) => part.ports));
  const joined = joinNetworks(context, parts);
  const components = joined.map(({ entry, part }) => toComponent(context, entry, part));
  const order = updateOrder(context, maps.map(({ service }) => service));
  const spec: Spec = { driver: "docker", components, ...sharedThings(context, joined.map(({ part }) => part)), ...(order === undefined ? {} : { update_order: order }) };
  return { spec, origin: createOrigin(file, parts.map(({ part }) => part)) };
}

function chooseServices(all: ReadonlyMap<string, Entry>, profiles: readonly string[], notes: Notes): { services: ReadonlyMap<string, Entry>; disabled: ReadonlySet<string> } {
  const reader = createReader(notes);
  const disabled = new Set<string>();
  for (const [name, { key, value }] of all) {
    const own = value.kind === "map" ? reader.texts(child(value, "profiles")).map(({ text }) => text) : [];
    if (own.length === 0 || profiles.includes("*") || own.some((profile) => profiles.includes(profile))) continue;
    disabled.add(name);
    notes.warn(key, `left out: it is in the profile ${own.join(", ")}, which was not asked for (--profile)`);
  }
  return { services: new Map([...all].filter(([name]) => !disabled.has(name))), disabled };
}

/** What siblings may know the service by, beside its component's name. */
function otherNames({ reader, notes }: Context, name: string, component: string, { key, value }: Entry): string[] {
  const tree = value.kind === "map" ? child(value, "container_name") : undefined;
  const own = reader.text(tree);
  if (tree !== undefined) notes.warn(tree, `Skep names containers itself, so that a host can have several placements: ${own ?? ""} is kept as a name on the network`);
  if (name !== component) notes.warn(key, `the service ${name} becomes the component ${component}; ${name} is kept as a name on the network`);
  return [...new Set([name, own])].filter((other) => other !== undefined && other !== component) as string[];
}

function joinNetworks(context: Context, parts: readonly { readonly entry: Entry; readonly part: ServiceParts; readonly aliases: readonly string[] }[]): { entry: Entry; part: ServiceParts }[] {
  const isOnDefault = ({ networks }: ServiceParts): boolean => networks.mode === undefined && networks.joined === undefined;
  const explicit = context.networks.has("default") || parts.some(({ part, aliases }) => part.networks.joined?.some(({ name }) => name === "default") === true || (isOnDefault(part) && aliases.length > 0));
  return parts.map(({ entry, part, aliases }) => {
    const joined = part.networks.joined ?? (explicit && isOnDefault(part) ? [{ name: "default" }] : undefined);
    return { entry, part: joined === undefined ? part : { ...part, networks: { ...part.networks, joined: withAliases(joined, aliases) } } };
  });
}

/** Networks and volumes that something uses, as in Compose. */
function sharedThings(context: Context, parts: readonly ServiceParts[]): Pick<Spec, "networks" | "volumes"> {
  const networks = readNetworks(context);
  const volumes = readVolumes(context);
  const usedNetworks = [...new Set(parts.flatMap(({ networks: { joined = [] } }) => joined.map(({ name }) => name)))].map((name) => [name, networks[name] ?? {}]);
  const usedVolumes = [...new Set(parts.flatMap(({ mounts }) => mounts.flatMap(({ mount }) => (mount.type === "volume" ? [mount.volume] : []))))].map((name) => [name, volumes[name] ?? {}]);
  return {
    ...(usedNetworks.length === 0 ? {} : { networks: Object.fromEntries(usedNetworks) as NonNullable<Spec["networks"]> }),
    ...(usedVolumes.length === 0 ? {} : { volumes: Object.fromEntries(usedVolumes) as NonNullable<Spec["volumes"]> }),
  };
}

/** The spec has one order for all its components. */
function updateOrder(context: Context, services: readonly MapTree[]): Spec["update_order"] {
  const orders = services.flatMap((service) => readDeploy(context, service) ?? []);
  const other = orders.find(({ order }) => order !== orders[0]!.order);
  if (other !== undefined) context.reader.refuse("clash", other.place, `all services of a deployment are updated in one order, and ${context.notes.locate(orders[0]!.place)} says another`);
  return orders[0]?.order;
}

