/**
 * Networks of a placement, and its volumes (volumes.ts). Ours carry the placement's labels and are found by them; foreign
 * ones (`external`) must exist and are never touched.
 */
import { DriverError } from "@skep/core";
import type { AbortSignalLike, PlacementLabels, SharedThings, Spec } from "@skep/core";
import { DEFAULT_NETWORK, LABEL, networksOf, ownFilter, placementLabels, thingName } from "./container-labels.ts";
import type { DockerContext } from "./context.ts";
import { asRefused, EngineRefusal } from "./engine-error.ts";
import type { NetworkInfo } from "./engine.ts";
import { dropNames, writeNames } from "./shared-names.ts";
import type { Names, NetworkRef } from "./shared-names.ts";
import { ensureVolume, externalVolume, otherName, removeVolumes } from "./volumes.ts";

type SharedContext = Pick<DockerContext, "engine" | "owner" | "lock" | "sharedDir">;

/** One for all placements: two of one deployment must not both find the same volume left behind. */
const VOLUMES = "shared volumes";

export function createShared(context: SharedContext): SharedThings {
  const { lock, sharedDir } = context;
  // One at a time per placement: an engine would make two networks of one name, and hand out either.
  const inTurn = <T>(placementId: string, work: () => Promise<T>, ...more: readonly string[]): Promise<T> => lock.run([`shared ${placementId}`, ...more], work);
  return {
    ensure: (labels, spec, signal) => inTurn(labels.placementId, async () => writeNames(sharedDir, labels.placementId, await ensureAll(context, labels, spec, signal)), ...(spec.volumes === undefined ? [] : [VOLUMES])),
    prune: (placementId, spec, signal) => inTurn(placementId, async () => {
      const wanted = wantedNetworks(spec);
      for (const network of await ownNetworks(context, placementId, signal)) {
        if (!((network.Labels?.[LABEL.network] ?? "") in wanted)) await removeNetwork(context, network, signal);
      }
    }),
    remove: (placementId, { volumes }, signal) => inTurn(placementId, async () => {
      for (const network of await ownNetworks(context, placementId, signal)) await removeNetwork(context, network, signal);
      if (volumes) await removeVolumes(context, placementId, signal);
      dropNames(sharedDir, placementId);
    }, VOLUMES),
  };
}

async function ensureAll(context: SharedContext, labels: PlacementLabels, spec: Spec, signal: AbortSignalLike): Promise<Names> {
  const networks: Record<string, NetworkRef> = {};
  const volumes: Record<string, string> = {};
  const own = await ownNetworks(context, labels.placementId, signal);
  for (const [name, network] of Object.entries(wantedNetworks(spec))) {
    networks[name] = network.external === undefined ? await ensureNetwork(context, labels, name, network.internal === true, own, signal) : await externalNetwork(context, network.external, signal);
  }
  for (const [name, volume] of Object.entries(spec.volumes ?? {})) {
    volumes[name] = volume.external === undefined ? await ensureVolume(context, labels, name, signal) : await externalVolume(context, volume.external, signal);
  }
  return { deployment: labels.deployment, networks, volumes };
}

/** The spec's own, and the default one when a component names none. */
function wantedNetworks(spec: Spec): NonNullable<Spec["networks"]> {
  const needed = spec.components.some(({ container }) => container !== undefined && networksOf(container).some(({ name }) => name === DEFAULT_NETWORK));
  return { ...(needed ? { [DEFAULT_NETWORK]: {} } : {}), ...spec.networks };
}

const ownNetworks = async ({ engine, owner }: SharedContext, placement: string, signal: AbortSignalLike): Promise<readonly NetworkInfo[]> => engine.networks(ownFilter(owner(), { placement }), signal);

async function ensureNetwork({ engine, owner }: SharedContext, labels: PlacementLabels, name: string, internal: boolean, own: readonly NetworkInfo[], signal: AbortSignalLike): Promise<NetworkRef> {
  // By age: should a call that was given up have come through after all, both ends choose the same one.
  const [there] = own.filter(({ Labels }) => Labels?.[LABEL.network] === name).sort((a, b) => `${a.Created}${a.Id}`.localeCompare(`${b.Created}${b.Id}`));
  if (there !== undefined) return { id: there.Id, name: there.Name };
  const body = { CheckDuplicate: true, Driver: "bridge", Internal: internal, Labels: { ...placementLabels(owner(), labels), [LABEL.network]: name } };
  const called = thingName(labels, name);
  const make = async (as: string): Promise<NetworkRef> => ({ id: await engine.createNetwork({ ...body, Name: as }, signal), name: as });
  try {
    return await make(called).catch((error: unknown) => {
      if (!(error instanceof EngineRefusal) || !/already exists/.test(error.message)) throw error;
      return make(otherName(called, owner()));
    });
  } catch (error) {
    throw asRefused(error, `network ${name} (${called}) could not be made`, "network_failed", ["no_free_subnet", "disk_full"]);
  }
}

async function externalNetwork({ engine }: SharedContext, called: string, signal: AbortSignalLike): Promise<NetworkRef> {
  const found = await engine.network(called, signal);
  if (found === undefined) throw new DriverError("network_not_found", `the external network ${called} does not exist on this host; make it first, or name another`);
  // These two are namespaces, which have no id to connect to.
  return { id: ["host", "none"].includes(found.Name) ? found.Name : found.Id, name: found.Name };
}

async function removeNetwork({ engine }: SharedContext, network: NetworkInfo, signal: AbortSignalLike): Promise<void> {
  await engine.removeNetwork(network.Id, signal).catch((error: unknown) => {
    throw asRefused(error, `network ${network.Name} could not be removed`, "network_in_use", []);
  });
}
