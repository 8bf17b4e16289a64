/**
 * Values out of the tree, each with a fault where it is not what is wanted. The schema has spoken before; these keep
 * the conversion total on whatever it let through, and on what it refused.
 */
import type { ComposeCode, Notes, Place } from "./fault.ts";
import type { ListTree, MapTree, Tree } from "./tree.ts";
import { parseBoolean, parseBytes, parseDurationMs, parseNumber } from "./units.ts";

/** The value of a key; undefined where there is none, or an empty one. */
export function child(map: MapTree, name: string): Tree | undefined {
  const value = map.entries.get(name)?.value;
  return value === undefined || isEmpty(value) ? undefined : value;
}
export const isEmpty = (tree: Tree): boolean => tree.kind === "scalar" && tree.value === null;

export interface Reader {
  refuse(code: ComposeCode, place: Place, message: string): undefined;
  map(tree: Tree | undefined): MapTree | undefined;
  list(tree: Tree | undefined): ListTree | undefined;
  text(tree: Tree | undefined): string | undefined;
  /** Where Compose takes one or several. */
  texts(tree: Tree | undefined): { readonly text: string; readonly place: Tree }[];
  boolean(tree: Tree | undefined): boolean | undefined;
  number(tree: Tree | undefined): number | undefined;
  integer(tree: Tree | undefined, min: number, max: number): number | undefined;
  bytes(tree: Tree | undefined): number | undefined;
  durationMs(tree: Tree | undefined): number | undefined;
  /** A mapping, or a list of NAME=VALUE. A value of null: only the name was given. */
  pairs(tree: Tree | undefined): Pair[];
}
export interface Pair {
  readonly name: string;
  readonly value: string | null;
  readonly place: Place;
}

export function createReader(notes: Notes): Reader {
  const refuse = (code: ComposeCode, place: Place, message: string): undefined => {
    notes.refuse(code, place, message);
  };

  const text = (tree: Tree | undefined): string | undefined => {
    if (tree === undefined) return undefined;
    if (tree.kind !== "scalar" || tree.value === null) return refuse("bad_value", tree, "must be text");
    // What is written is not always what YAML makes of it, and Compose would use the latter.
    if (typeof tree.value === "number" && String(tree.value) !== tree.source) return refuse("bad_value", tree, `${tree.source} is the number ${tree.value} to YAML: put it in quotes`);
    return String(tree.value);
  };
  const parsed = <T>(parse: (value: string) => T | undefined, what: string) => (tree: Tree | undefined): T | undefined => {
    const value = text(tree);
    if (tree === undefined || value === undefined) return undefined;
    return parse(value) ?? refuse("bad_value", tree, `${JSON.stringify(value)} is not ${what}`);
  };
  const number = parsed(parseNumber, "a number");

  return {
    refuse,
    text,
    number,
    boolean: parsed(parseBoolean, "true or false"),
    bytes: parsed(parseBytes, "a size such as 512m or 1g"),
    durationMs: parsed(parseDurationMs, "a duration such as 30s or 1m30s"),
    map: (tree) => (tree === undefined || tree.kind === "map" ? tree : refuse("bad_value", tree, "must be a mapping")),
    list: (tree) => (tree === undefined || tree.kind === "list" ? tree : refuse("bad_value", tree, "must be a list")),
    texts: (tree) =>
      (tree === undefined ? [] : tree.kind === "list" ? tree.items : [tree]).flatMap((item) => {
        const value = text(item);
        return value === undefined ? [] : [{ text: value, place: item }];
      }),
    integer: (tree, min, max) => {
      const value = number(tree);
      if (tree === undefined || value === undefined) return undefined;
      return Number.isInteger(value) && value >= min && value <= max ? value : refuse("bad_value", tree, `must be a whole number from ${min} to ${max}`);
    },
    pairs: (tree) => {
      if (tree === undefined) return [];
      if (tree.kind === "map") {
        return [...tree.entries].flatMap(([name, { key, value }]): Pair[] => {
          if (isEmpty(value)) return [{ name, value: null, place: key }];
          const found = text(value);
          return found === undefined ? [] : [{ name, value: found, place: value }];
        });
      }
      if (tree.kind !== "list") return refuse("bad_value", tree, "must be a mapping or a list") ?? [];
      const pairs = tree.items.flatMap((item): Pair[] => {
        const whole = text(item);
        if (whole === undefined) return [];
        const at = whole.indexOf("=");
        if (at === 0 || whole === "") return refuse("bad_value", item, "must be NAME=VALUE") ?? [];
        return [at === -1 ? { name: whole, value: null, place: item } : { name: whole.slice(0, at), value: whole.slice(at + 1), place: item }];
      });
      const seen = new Set<string>();
      return pairs.filter(({ name, place }) => (seen.has(name) ? (refuse("clash", place, `${name} is given twice`) ?? false) : (seen.add(name), true)));
    },
  };
}
