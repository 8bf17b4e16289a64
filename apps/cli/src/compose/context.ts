/** What the conversion of every part is given. */
import type { Notes } from "./fault.ts";
import type { Lookup } from "./interpolate.ts";
import type { Reader } from "./read.ts";
import type { Entry } from "./tree.ts";

export interface Context {
  readonly notes: Notes;
  readonly reader: Reader;
  readonly lookup: Lookup;
  /** The Compose file's folder, absolute; undefined: it came from stdin. */
  readonly folder: string | undefined;
  readonly ignoreBuild: boolean;
  /** The services that run: all but those of profiles nobody asked for. */
  readonly services: ReadonlyMap<string, Entry>;
  readonly disabled: ReadonlySet<string>;
  readonly componentOf: ReadonlyMap<string, string>;
  readonly networks: ReadonlyMap<string, Entry>;
  readonly volumes: ReadonlyMap<string, Entry>;
}
