/**
 * Networks and volumes of a placement. Ours carry the placement's labels and are found by them; foreign ones
 * (`external`) must exist and are never touched. What a spec's names mean is kept in a file, because a component is
 * started with its own part of the spec alone.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DriverError } from "@skep/core";
import type { AbortSignalLike, PlacementLabels, SharedThings, Spec } from "@skep/core";
import { writeDurable } from "../../runner/durable-file.ts";
import { asDriverError } from "../driver-errors.ts";
import { DEFAULT_NETWORK, LABEL, networksOf, ownFilter, placementLabels, thingName } from "./container-labels.ts";
import type { DockerContext } from "./context.ts";
import type { SharedNames } from "./create-body.ts";
import { asRefused, EngineRefusal } from "./engine-error.ts";
import type { NetworkInfo } from "./engine.ts";

type SharedContext = Pick<DockerContext, "engine" | "owner" | "lock" | "sharedDir">;

/** The spec's names, as this engine calls them. */
interface Names {
  readonly networks: Readonly<Record<string, string>>;
  readonly volumes: Readonly<Record<string, string>>;
}

export function createShared(context: SharedContext): SharedThings {
  const { lock, sharedDir } = context;
  // One at a time per placement: an engine would make two networks of one name, and hand out either.
  const inTurn = <T>(placementId: string, work: () => Promise<T>): Promise<T> => lock.run([`shared ${placementId}`], work);
  return {
    ensure: (labels, spec, signal) => inTurn(labels.placementId, async () => writeNames(sharedDir, labels.placementId, await ensureAll(context, labels, spec, signal))),
    prune: (placementId, spec, signal) => inTurn(placementId, async () => {
      const wanted = wantedNetworks(spec);
      for (const network of await ownNetworks(context, placementId, signal)) {
        if (!((network.Labels?.[LABEL.network] ?? "") in wanted)) await removeNetwork(context, network, signal);
      }
    }),
    remove: (placementId, { volumes }, signal) => inTurn(placementId, async () => {
      for (const network of await ownNetworks(context, placementId, signal)) await removeNetwork(context, network, signal);
      if (volumes) for (const { Name } of await context.engine.volumes(ownFilter(context.owner(), { placement: placementId }), signal)) await removeVolume(context, Name, signal);
      rmSync(namesPath(sharedDir, placementId), { force: true });
    }),
  };
}

async function ensureAll(context: SharedContext, labels: PlacementLabels, spec: Spec, signal: AbortSignalLike): Promise<Names> {
  const networks: Record<string, string> = {};
  const volumes: Record<string, string> = {};
  const own = await ownNetworks(context, labels.placementId, signal);
  for (const [name, network] of Object.entries(wantedNetworks(spec))) {
    networks[name] = network.external === undefined ? await ensureNetwork(context, labels, name, network.internal === true, own, signal) : await externalNetwork(context, network.external, signal);
  }
  for (const [name, volume] of Object.entries(spec.volumes ?? {})) {
    volumes[name] = volume.external === undefined ? await ensureVolume(context, labels, name, signal) : await externalVolume(context, volume.external, signal);
  }
  return { networks, volumes };
}

/** The spec's own, and the default one when a component names none. */
function wantedNetworks(spec: Spec): NonNullable<Spec["networks"]> {
  const needed = spec.components.some(({ container }) => container !== undefined && networksOf(container).some(({ name }) => name === DEFAULT_NETWORK));
  return { ...(needed ? { [DEFAULT_NETWORK]: {} } : {}), ...spec.networks };
}

const ownNetworks = async ({ engine, owner }: SharedContext, placement: string, signal: AbortSignalLike): Promise<readonly NetworkInfo[]> => engine.networks(ownFilter(owner(), { placement }), signal);

async function ensureNetwork({ engine, owner }: SharedContext, labels: PlacementLabels, name: string, internal: boolean, own: readonly NetworkInfo[], signal: AbortSignalLike): Promise<string> {
  // By age: should a call that was given up have come through after all, both ends choose the same one.
  const [there] = own.filter(({ Labels }) => Labels?.[LABEL.network] === name).sort((a, b) => `${a.Created}${a.Id}`.localeCompare(`${b.Created}${b.Id}`));
  if (there !== undefined) return there.Id;
  const body = { CheckDuplicate: true, Driver: "bridge", Internal: internal, Labels: { ...placementLabels(owner(), labels), [LABEL.network]: name } };
  const called = thingName(labels, name);
  try {
    return await engine.createNetwork({ ...body, Name: called }, signal).catch((error: unknown) => {
      if (!(error instanceof EngineRefusal) || !/already exists/.test(error.message)) throw error;
      return engine.createNetwork({ ...body, Name: otherName(called, owner()) }, signal);
    });
  } catch (error) {
    throw asRefused(error, `network ${name} (${called}) could not be made`, "network_failed", ["no_free_subnet", "disk_full"]);
  }
}

/** Somebody else's thing has the name: another agent's on the same engine, or a stranger's. */
const otherName = (called: string, owner: string): string => `${called}-${owner.slice(-6)}`;

async function externalNetwork({ engine }: SharedContext, called: string, signal: AbortSignalLike): Promise<string> {
  const found = await engine.network(called, signal);
  if (found === undefined) throw new DriverError("network_not_found", `the external network ${called} does not exist on this host; make it first, or name another`);
  // These two are namespaces, which have no id to connect to.
  return ["host", "none"].includes(found.Name) ? found.Name : found.Id;
}

async function ensureVolume({ engine, owner }: SharedContext, labels: PlacementLabels, name: string, signal: AbortSignalLike): Promise<string> {
  const [there] = (await engine.volumes(ownFilter(owner(), { placement: labels.placementId }), signal)).filter(({ Labels }) => Labels?.[LABEL.volume] === name);
  if (there !== undefined) return there.Name;
  const called = thingName(labels, name);
  try {
    for (const Name of [called, otherName(called, owner())]) {
      // Making a volume that is there gives back the one that is there, whosever it is.
      const made = await engine.createVolume({ Name, Labels: { ...placementLabels(owner(), labels), [LABEL.volume]: name } }, signal);
      if (made.Labels?.[LABEL.host] === owner() && made.Labels[LABEL.placement] === labels.placementId) return Name;
    }
  } catch (error) {
    throw asRefused(error, `volume ${name} (${called}) could not be made`, "volume_failed", ["disk_full"]);
  }
  throw new DriverError("volume_failed", `volume ${name} could not be made: both names it could have (${called}, ${otherName(called, owner())}) are taken by somebody else's volumes`);
}

async function externalVolume({ engine }: SharedContext, called: string, signal: AbortSignalLike): Promise<string> {
  if ((await engine.volume(called, signal)) === undefined) throw new DriverError("volume_not_found", `the external volume ${called} does not exist on this host; make it first, or name another`);
  return called;
}

async function removeNetwork({ engine }: SharedContext, network: NetworkInfo, signal: AbortSignalLike): Promise<void> {
  await engine.removeNetwork(network.Id, signal).catch((error: unknown) => {
    throw asRefused(error, `network ${network.Name} could not be removed`, "network_in_use", []);
  });
}

async function removeVolume({ engine }: SharedContext, name: string, signal: AbortSignalLike): Promise<void> {
  await engine.removeVolume(name, signal).catch((error: unknown) => {
    throw asRefused(error, `volume ${name} could not be removed`, "volume_in_use", []);
  });
}

const namesPath = (sharedDir: string, placementId: string): string => join(sharedDir, `${placementId}.json`);

function writeNames(sharedDir: string, placementId: string, names: Names): void {
  try {
    mkdirSync(sharedDir, { recursive: true, mode: 0o700 });
    writeDurable(namesPath(sharedDir, placementId), JSON.stringify(names));
  } catch (error) {
    throw asDriverError(error, "start_failed", "the names of the placement's networks cannot be written");
  }
}

/** Before `ensure`, or with its file lost, names are what `ensure` would call them. */
export function readNames(sharedDir: string, labels: PlacementLabels): SharedNames {
  const read = (): Partial<Names> => {
    try {
      return JSON.parse(readFileSync(namesPath(sharedDir, labels.placementId), "utf8")) as Partial<Names>;
    } catch {
      return {};
    }
  };
  const { networks = {}, volumes = {} } = read();
  return { network: (name) => networks[name] ?? thingName(labels, name), volume: (name) => volumes[name] ?? thingName(labels, name) };
}
