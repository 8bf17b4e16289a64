/**
 * What is wrong with a Compose file. Every fault has a code for programs, the key path, a place in the file and words
 * that say what to do; all of a file's faults are collected, so that one run shows all there is to correct.
 */
import type { Path, Tree } from "./tree.ts";

export const COMPOSE_CODES = [
  /** Not YAML, or YAML that Compose has no use for (tags, several documents). */
  "yaml",
  /** A `$…` that cannot be resolved. */
  "interpolation",
  /** Not what the published schema allows. */
  "schema",
  /** A key that is in no Compose file. */
  "unknown_key",
  /** Valid Compose, and not something Skep does. */
  "unsupported_key",
  "unsupported_value",
  /** A value that nothing could make sense of. */
  "bad_value",
  /** A file outside the Compose file's folder. */
  "path_escape",
  "unreadable_file",
  /** A service, network or volume that the file does not have. */
  "unknown_reference",
  /** Two things that exclude each other: host ports, names, settings. */
  "clash",
  "cycle",
] as const;
export type ComposeCode = (typeof COMPOSE_CODES)[number];

export interface Fault {
  readonly code: ComposeCode;
  /** As a person writes it: services.web.ports[0]. Empty: the file. */
  readonly key: string;
  readonly path: Path;
  /** "compose.yaml:7:5" */
  readonly at: string;
  readonly offset: number;
  readonly message: string;
}

/** A place in the file: a node, or a key of a mapping. */
export type Place = Pick<Tree, "at" | "path">;

export interface Notes {
  readonly faults: readonly Fault[];
  readonly warnings: readonly Omit<Fault, "code">[];
  refuse(code: ComposeCode, place: Place, message: string): void;
  /** Taken, though not to the letter; never for what changes what a workload may do. */
  warn(place: Place, message: string): void;
  /** "compose.yaml:7:5" */
  locate(place: Place): string;
}

/** Enough to correct a file by; a file of nothing but faults must not cost minutes. */
const MAX_FAULTS = 200;

export const keyOf = (path: Path): string => path.reduce<string>((text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`), "");

const isAround = (outer: Path, inner: Path): boolean => outer.length > 0 && outer.every((part, index) => String(part) === String(inner[index]));

export function createNotes(locate: (offset: number) => string): Notes {
  const faults: Fault[] = [];
  const warnings: Omit<Fault, "code">[] = [];
  const seen = new Set<string>();
  // What an alias repeats is wrong once, at the one place where it is written.
  const isNew = (kind: string, at: string, message: string): boolean => {
    const key = `${kind} ${at} ${message}`;
    return !seen.has(key) && seen.add(key) !== undefined;
  };
  return {
    faults,
    warnings,
    refuse: (code, { at, path }, message) => {
      if (faults.length >= MAX_FAULTS) return;
      // What the schema or a variable was refused for need not be misunderstood once more.
      if (code === "bad_value" && faults.some((fault) => fault.code !== "bad_value" && isAround(fault.path, path))) return;
      const fault: Fault = { code, key: keyOf(path), path, at: locate(at), offset: at, message };
      if (isNew("fault", fault.at, message)) faults.push(fault);
    },
    warn: ({ at, path }, message) => {
      const warning = { key: keyOf(path), path, at: locate(at), offset: at, message };
      if (isNew("warning", warning.at, message)) warnings.push(warning);
    },
    locate: ({ at }) => locate(at),
  };
}
