/**
 * The YAML of a Compose file as values that know where they are written. Aliases and `<<` are resolved here, so that
 * whatever reads the tree need not know of them and still names the line where a thing really stands.
 * Invariant: never more than MAX_NODES nodes, however the file's aliases multiply.
 */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument, type Document, type Node } from "yaml";

/** Too small refuses honest files with many services; too large lets a page of aliases eat the memory of whoever checks it. */
const MAX_NODES = 100_000;
const MAX_DEPTH = 64;

export type Path = readonly (string | number)[];
interface Base {
  /** Offset in the text. */
  readonly at: number;
  readonly path: Path;
}
export interface ScalarTree extends Base {
  readonly kind: "scalar";
  readonly value: string | number | boolean | null;
  /** As it is written: 1.10 is not 1.1. */
  readonly source: string;
}
export interface ListTree extends Base {
  readonly kind: "list";
  readonly items: readonly Tree[];
}
export interface Entry {
  readonly key: Base;
  readonly value: Tree;
}
export interface MapTree extends Base {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, Entry>;
}
export type Tree = ScalarTree | ListTree | MapTree;

export interface YamlFault {
  readonly at: number;
  readonly message: string;
}
export type ParsedTree = { readonly tree: Tree; readonly locate: (offset: number) => string } | { readonly faults: readonly YamlFault[]; readonly locate: (offset: number) => string };

class TreeError extends Error {
  readonly at: number;
  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

export function parseTree(text: string, name: string): ParsedTree {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: "1.2" });
  const locate = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${Math.max(1, line)}:${Math.max(1, col)}`;
  };
  if (doc.errors.length > 0) return { faults: doc.errors.map((error) => ({ at: error.pos[0], message: error.message.startsWith("Maximum call stack") ? "nested too deeply" : error.message })), locate };
  try {
    return { tree: createBuilder(doc)(doc.contents, [], 0, []), locate };
  } catch (error) {
    if (error instanceof TreeError) return { faults: [{ at: error.at, message: error.message }], locate };
    throw error;
  }
}

type Builder = (node: Node | null, path: Path, fallback: number, trail: readonly Node[]) => Tree;

function createBuilder(doc: Document): Builder {
  let count = 0;
  const start = (node: Node | null, fallback: number): number => node?.range?.[0] ?? fallback;

  const build: Builder = (node, path, fallback, trail) => {
    const at = start(node, fallback);
    count += 1;
    if (count > MAX_NODES) throw new TreeError(at, `more than ${MAX_NODES} values once its aliases are resolved`);
    if (trail.length > MAX_DEPTH) throw new TreeError(at, `nested more than ${MAX_DEPTH} deep`);
    if (node === null) return { kind: "scalar", at, path, value: null, source: "" };
    if (isAlias(node)) {
      const target = node.resolve(doc);
      if (target === undefined) throw new TreeError(at, `there is no anchor &${node.source} above`);
      if (trail.includes(target)) throw new TreeError(at, `*${node.source} contains itself`);
      return build(target, path, at, trail);
    }
    if (node.tag !== undefined && !STANDARD_TAGS.has(node.tag)) throw new TreeError(at, `the tag ${node.tag} is not supported: write the value itself`);
    const deeper = [...trail, node];
    if (isSeq(node)) return { kind: "list", at, path, items: node.items.map((item, index) => build(item as Node | null, [...path, index], at, deeper)) };
    if (isMap(node)) return { kind: "map", at, path, entries: entriesOf(node, path, deeper) };
    if (isScalar(node)) return { kind: "scalar", at, path, ...scalarOf(node.value, node.source) };
    throw new TreeError(at, "a kind of value that Compose does not have");
  };

  const entriesOf = (node: { readonly items: readonly { readonly key: unknown; readonly value: unknown }[]; readonly range?: readonly [number, number, number] | null | undefined }, path: Path, trail: readonly Node[]): Map<string, Entry> => {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const { key, value } of node.items) {
      const keyNode = key as Node | null;
      const at = start(keyNode, node.range?.[0] ?? 0);
      if (!isScalar(keyNode) || typeof keyNode.value === "object") throw new TreeError(at, "a key must be a plain word");
      const name = typeof keyNode.value === "string" ? keyNode.value : (keyNode.source ?? "");
      if (name === "<<" && keyNode.type === "PLAIN") {
        for (const source of mergeSources(build(value as Node | null, path, at, trail))) {
          // The first of several sources wins, and what is written beside << wins over all of them.
          for (const [inner, entry] of source.entries) if (!merged.has(inner)) merged.set(inner, entry);
        }
      } else own.set(name, { key: { at, path: [...path, name] }, value: build(value as Node | null, [...path, name], at, trail) });
    }
    return new Map([...[...merged].filter(([name]) => !own.has(name)), ...own]);
  };
  return build;
}

const STANDARD_TAGS = new Set(["str", "int", "float", "bool", "null", "map", "seq"].map((name) => `tag:yaml.org,2002:${name}`));

function mergeSources(value: Tree): readonly MapTree[] {
  const list = value.kind === "list" ? value.items : [value];
  return list.map((item) => {
    if (item.kind !== "map") throw new TreeError(item.at, "<< takes a mapping, or a list of mappings");
    return item;
  });
}

function scalarOf(value: unknown, source: string | undefined): Pick<ScalarTree, "value" | "source"> {
  if (value === null || typeof value === "boolean" || typeof value === "number") return { value, source: source ?? String(value) };
  const text = typeof value === "string" ? value : (source ?? "");
  return { value: text, source: text };
}

/** The same as plain values, for the schema. Without a prototype, so that no key is special. */
export function plainOf(tree: Tree): unknown {
  if (tree.kind === "scalar") return tree.value;
  if (tree.kind === "list") return tree.items.map(plainOf);
  const result = Object.create(null) as Record<string, unknown>;
  for (const [name, { value }] of tree.entries) result[name] = plainOf(value);
  return result;
}

/** What stands at a path, or at the nearest thing around it. */
export function nearest(tree: Tree, path: Path): Tree {
  const [head, ...rest] = path;
  if (head === undefined) return tree;
  const next = tree.kind === "map" ? tree.entries.get(String(head))?.value : tree.kind === "list" ? tree.items[Number(head)] : undefined;
  return next === undefined ? tree : nearest(next, rest);
}
