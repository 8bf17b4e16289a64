/**
 * Named volumes. They outlive a placement unless a teardown says otherwise, and a later placement of the same deployment
 * on this host finds them again: data that nobody could reach any more would not be kept. Invariant: no volume serves
 * two placements, and only what this deployment made is ever removed.
 */
import { DriverError } from "@skep/core";
import type { AbortSignalLike, PlacementLabels } from "@skep/core";
import { LABEL, ownFilter, placementLabels, thingName } from "./container-labels.ts";
import type { DockerContext } from "./context.ts";
import { asRefused } from "./engine-error.ts";
import type { VolumeInfo } from "./engine.ts";
import { claimedByOthers, readNames } from "./shared-names.ts";

type VolumeContext = Pick<DockerContext, "engine" | "owner" | "sharedDir">;

/** Somebody else's thing has the name: another agent's on the same engine, or a stranger's. */
export const otherName = (called: string, owner: string): string => `${called}-${owner.slice(-6)}`;

/** The engine's name of the placement's volume, found or made. */
export async function ensureVolume(context: VolumeContext, labels: PlacementLabels, name: string, signal: AbortSignalLike): Promise<string> {
  const { engine, owner, sharedDir } = context;
  const kept = await ofDeployment(context, labels.deployment, name, signal);
  const mine = kept.find(({ Name, Labels }) => readNames(sharedDir, labels.placementId)?.volumes[name] === Name || Labels?.[LABEL.placement] === labels.placementId);
  const taken = claimedByOthers(sharedDir, labels.placementId);
  const [left] = kept.filter(({ Name }) => !taken.has(Name)).sort((a, b) => `${b.CreatedAt}`.localeCompare(`${a.CreatedAt}`));
  const there = mine ?? left;
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

export async function externalVolume({ engine }: VolumeContext, called: string, signal: AbortSignalLike): Promise<string> {
  if ((await engine.volume(called, signal)) === undefined) throw new DriverError("volume_not_found", `the external volume ${called} does not exist on this host; make it first, or name another`);
  return called;
}

/** What the placement made and what it took over from the one before it; never an external one, nor one that serves another by now. */
export async function removeVolumes(context: VolumeContext, placementId: string, signal: AbortSignalLike): Promise<void> {
  const { engine, owner, sharedDir } = context;
  const names = readNames(sharedDir, placementId);
  const taken = claimedByOthers(sharedDir, placementId);
  const all = await engine.volumes(ownFilter(owner()), signal);
  const usedAs = (volume: VolumeInfo): boolean => names !== undefined && volume.Labels?.[LABEL.deployment] === names.deployment && names.volumes[volume.Labels[LABEL.volume] ?? ""] === volume.Name;
  for (const volume of all) {
    if (taken.has(volume.Name) || (volume.Labels?.[LABEL.placement] !== placementId && !usedAs(volume))) continue;
    await engine.removeVolume(volume.Name, signal).catch((error: unknown) => {
      throw asRefused(error, `volume ${volume.Name} could not be removed`, "volume_in_use", []);
    });
  }
}

async function ofDeployment({ engine, owner }: VolumeContext, deployment: string, name: string, signal: AbortSignalLike): Promise<readonly VolumeInfo[]> {
  return (await engine.volumes(ownFilter(owner()), signal)).filter(({ Labels }) => Labels?.[LABEL.deployment] === deployment && Labels[LABEL.volume] === name);
}
