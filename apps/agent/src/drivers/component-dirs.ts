/**
 * Where a component's files are: `<stateDir>/placements/<placement>/<component>/` with state.json, run-*.sock,
 * runner.log, logs/ and work/; `starts.log` beside the components. `remove` deletes the first three kinds only.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isName, isUuid } from "@skep/core";
import { isMissing } from "./driver-errors.ts";
import { assertSafeNames } from "./labels.ts";
import { STARTS_LOG } from "./starts-log.ts";

export interface ComponentDir {
  readonly placementId: string;
  readonly component: string;
  readonly path: string;
}

export interface ComponentDirs {
  /** Throws when the names are not safe in a path. Makes nothing. */
  of(placementId: string, component: string): ComponentDir;
  /** Every component that ever had a directory. Rejects when the state directory cannot be read. */
  list(): Promise<ComponentDir[]>;
  startsLog(placementId: string): string;
}

export const workDir = (dir: ComponentDir): string => join(dir.path, "work");

export function createComponentDirs(stateDir: string): ComponentDirs {
  const root = join(stateDir, "placements");
  const at = (placementId: string, component: string): ComponentDir => ({ placementId, component, path: join(root, placementId, component) });
  return {
    of(placementId, component) {
      assertSafeNames(placementId, component);
      return at(placementId, component);
    },
    async list() {
      const placements = (await namesIn(root)).filter(isUuid);
      const found = await Promise.all(placements.map(async (id) => (await namesIn(join(root, id))).filter(isName).map((name) => at(id, name))));
      return found.flat();
    },
    startsLog: (placementId) => join(root, placementId, STARTS_LOG),
  };
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
