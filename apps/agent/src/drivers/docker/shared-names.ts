/**
 * What the names of a placement's spec mean on this engine, in a durable file: a component is started with its own part
 * of the spec alone. The files also say which volumes are in use by whom, however they are labelled.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { PlacementLabels } from "@skep/core";
import { writeDurable } from "../../runner/durable-file.ts";
import { asDriverError, isMissing } from "../driver-errors.ts";
import { thingName } from "./container-labels.ts";
import type { SharedNames } from "./create-body.ts";

/** Engines take the id, which is never ambiguous; Podman tells of a container's networks by name. */
export interface NetworkRef {
  readonly id: string;
  readonly name: string;
}

export interface Names {
  readonly deployment: string;
  readonly networks: Readonly<Record<string, NetworkRef>>;
  readonly volumes: Readonly<Record<string, string>>;
}

const pathOf = (directory: string, placementId: string): string => join(directory, `${placementId}.json`);

/** Throws `disk_full` or `start_failed`. */
export function writeNames(directory: string, placementId: string, names: Names): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeDurable(pathOf(directory, placementId), JSON.stringify(names));
  } catch (error) {
    throw asDriverError(error, "start_failed", "the names of the placement's networks cannot be written");
  }
}

export function readNames(directory: string, placementId: string): Names | undefined {
  try {
    return JSON.parse(readFileSync(pathOf(directory, placementId), "utf8")) as Names;
  } catch {
    return undefined;
  }
}

export const dropNames = (directory: string, placementId: string): void => rmSync(pathOf(directory, placementId), { force: true });

/** Volumes that placements other than this one use. */
export function claimedByOthers(directory: string, placementId: string): Set<string> {
  const others = placementsIn(directory).filter((id) => id !== placementId);
  return new Set(others.flatMap((id) => Object.values(readNames(directory, id)?.volumes ?? {})));
}

function placementsIn(directory: string): string[] {
  try {
    return readdirSync(directory).flatMap((name) => (name.endsWith(".json") ? [name.slice(0, -5)] : []));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** With its file lost, names are what they would be made as. */
export function sharedNames(directory: string, labels: Pick<PlacementLabels, "placementId" | "deployment">): SharedNames {
  const { networks = {}, volumes = {} } = readNames(directory, labels.placementId) ?? {};
  const network = (name: string): NetworkRef => networks[name] ?? { id: thingName(labels, name), name: thingName(labels, name) };
  return { network, volume: (name) => volumes[name] ?? thingName(labels, name) };
}
