/** One service as one component. */
import type { ComponentSpec, ContainerSpec, PullPolicy } from "@skep/core";
import type { Context } from "./context.ts";
import type { Variables } from "./environment.ts";
import { readResources, readRestart } from "./limits.ts";
import type { PlacedMount } from "./mounts.ts";
import type { ServiceNetworks } from "./networks.ts";
import type { PlacedPort } from "./ports.ts";
import { child } from "./read.ts";
import type { Entry, MapTree, Tree } from "./tree.ts";
import { splitWords } from "./words.ts";

export interface ServiceParts {
  readonly name: string;
  readonly service: MapTree;
  readonly variables: Variables;
  readonly ports: readonly PlacedPort[];
  readonly mounts: readonly PlacedMount[];
  readonly networks: ServiceNetworks;
  readonly probe: ComponentSpec["probe"];
  readonly dependsOn: readonly string[];
  readonly runsToCompletion: boolean;
}

const DEFAULT_GRACE_S = 10;

export function toComponent(context: Context, entry: Entry, parts: ServiceParts): ComponentSpec {
  const { reader } = context;
  const { service, networks } = parts;
  const grace = reader.durationMs(child(service, "stop_grace_period"));
  const restart = readRestart(context, service);
  if (parts.runsToCompletion && restart.policy === "always") {
    reader.refuse("clash", child(service, "restart") ?? child(service, "deploy") ?? entry.key, "another service waits for this one to end: it cannot always be restarted (use no or on-failure)");
  }
  const published = parts.ports.find(({ port }) => port.publish !== false);
  if (networks.mode !== undefined && published !== undefined) reader.refuse("clash", published.place, `with network_mode: ${networks.mode} no port can be published: leave ports out`);
  const workingDir = reader.text(child(service, "working_dir"));
  return {
    name: parts.name,
    command: readCommand(context, service),
    env: parts.variables.env,
    ...(workingDir === undefined ? {} : { working_dir: workingDir }),
    ports: parts.ports.map(({ port }) => port),
    restart,
    depends_on: parts.dependsOn,
    ...(parts.runsToCompletion ? { run_to_completion: true } : {}),
    ...(parts.probe === undefined ? {} : { probe: parts.probe }),
    stop_timeout_s: grace === undefined ? DEFAULT_GRACE_S : Math.ceil(grace / 1_000),
    container: toContainer(context, entry, parts),
  };
}

function toContainer(context: Context, entry: Entry, { service, mounts, networks }: ServiceParts): ContainerSpec {
  const { reader } = context;
  const entrypoint = argv(context, child(service, "entrypoint"));
  if (entrypoint?.length === 0) reader.refuse("unsupported_value", child(service, "entrypoint")!, "an entrypoint cannot be taken away: name the program itself");
  const all: { readonly [K in keyof ContainerSpec]: ContainerSpec[K] } = {
    image: readImage(context, entry, service),
    pull: readPull(context, service),
    entrypoint,
    user: reader.text(child(service, "user")),
    hostname: reader.text(child(service, "hostname")),
    init: yes(context, service, "init"),
    read_only: yes(context, service, "read_only"),
    stop_signal: reader.text(child(service, "stop_signal")),
    mounts: some(mounts.map(({ mount }) => mount)),
    networks: networks.joined,
    resources: readResources(context, service),
    extra_hosts: some(extraHosts(context, service)),
    dns: some(reader.texts(child(service, "dns")).map(({ text }) => text)),
    shm_size_bytes: reader.bytes(child(service, "shm_size")),
    labels: readLabels(context, service),
    cap_drop: capabilities(context, service, "cap_drop"),
    cap_add: capabilities(context, service, "cap_add"),
    privileged: yes(context, service, "privileged"),
    network_mode: networks.mode,
    pid_mode: hostNamespace(context, service, "pid"),
    ipc_mode: hostNamespace(context, service, "ipc"),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as unknown as ContainerSpec;
}

const some = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list);
/** Only what is turned on is said: off is how it is. */
const yes = ({ reader }: Context, service: MapTree, key: string): true | undefined => (reader.boolean(child(service, key)) === true ? true : undefined);

/** Text is split as a shell would, without one; a list is taken to the letter. */
function argv({ reader }: Context, tree: Tree | undefined): string[] | undefined {
  if (tree === undefined) return undefined;
  if (tree.kind === "list") return reader.texts(tree).map(({ text }) => text);
  const split = splitWords(reader.text(tree) ?? "");
  return split.ok ? [...split.words] : reader.refuse("bad_value", tree, split.message);
}

function readCommand(context: Context, service: MapTree): string[] {
  const tree = child(service, "command");
  const command = argv(context, tree);
  if (tree !== undefined && command?.length === 0 && child(service, "entrypoint") === undefined) context.reader.refuse("unsupported_value", tree, "an image's command cannot be taken away without an entrypoint: leave command out, or say what to run");
  return command ?? [];
}

function readImage({ reader, notes, ignoreBuild }: Context, entry: Entry, service: MapTree): string {
  const image = reader.text(child(service, "image"));
  const build = child(service, "build") === undefined ? undefined : service.entries.get("build")!.key;
  if (build === undefined && image === undefined) reader.refuse("bad_value", entry.key, "needs an image");
  else if (build !== undefined && image === undefined) reader.refuse("unsupported_key", build, "build is not supported: Skep runs images and makes none. Build and push it, name it with image, and take build away or deploy with --ignore-build");
  else if (build !== undefined && !ignoreBuild) reader.refuse("unsupported_key", build, `build is not supported: build and push ${image}, then deploy with --ignore-build to run it as it is`);
  else if (build !== undefined) notes.warn(build, `build is ignored: ${image} is run as it is found`);
  return image ?? "";
}

const PULL: Readonly<Record<string, PullPolicy>> = { always: "always", never: "never", missing: "if_missing", if_not_present: "if_missing" };
function readPull({ reader }: Context, service: MapTree): PullPolicy | undefined {
  const tree = child(service, "pull_policy");
  const text = reader.text(tree);
  if (tree === undefined || text === undefined) return undefined;
  return Object.hasOwn(PULL, text) ? PULL[text] : reader.refuse("unsupported_value", tree, `pull_policy ${text} is not supported: always, missing or never`);
}

/** NAME:ADDRESS, NAME=ADDRESS, or a mapping of names to one address or several. */
function extraHosts({ reader }: Context, service: MapTree): string[] {
  const tree = child(service, "extra_hosts");
  const plain = (address: string): string => address.trim().replace(/^\[(.*)\]$/, "$1");
  if (tree?.kind === "map") return [...tree.entries].flatMap(([name, { value }]) => reader.texts(value).map(({ text }) => `${name}:${plain(text)}`));
  return reader.texts(tree).flatMap(({ text, place }) => {
    const match = /^([^:=\s]+)[:=](.+)$/.exec(text);
    return match === null ? (reader.refuse("bad_value", place, "must be NAME:ADDRESS") ?? []) : [`${match[1]}:${plain(match[2]!)}`];
  });
}

function readLabels({ reader }: Context, service: MapTree): Record<string, string> | undefined {
  const pairs = reader.pairs(child(service, "labels"));
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs.map(({ name, value }) => [name, value ?? ""]));
}

const capabilities = ({ reader }: Context, service: MapTree, key: string): readonly string[] | undefined => some(reader.texts(child(service, key)).map(({ text }) => text.toUpperCase()));

function hostNamespace({ reader }: Context, service: MapTree, key: "pid" | "ipc"): "host" | undefined {
  const tree = child(service, key);
  const text = reader.text(tree);
  // "private" is how it is without the key.
  if (tree === undefined || text === undefined || (key === "ipc" && text === "private")) return undefined;
  return text === "host" ? "host" : reader.refuse("unsupported_value", tree, `${key}: ${text} is not supported: host, or nothing`);
}

