/** Variables put into the tree's values, with a fault or a warning at each that is missing. Keys are not touched, as in Compose. */
import type { Notes } from "./fault.ts";
import { interpolate, type Lookup } from "./interpolate.ts";
import type { Entry, Tree } from "./tree.ts";

export function resolveVariables(tree: Tree, lookup: Lookup, notes: Notes): Tree {
  if (tree.kind === "list") return { ...tree, items: tree.items.map((item) => resolveVariables(item, lookup, notes)) };
  if (tree.kind === "map") {
    const entries = [...tree.entries].map(([name, { key, value }]): [string, Entry] => [name, { key, value: isExtension(tree.path, name) ? value : resolveVariables(value, lookup, notes) }]);
    return { ...tree, entries: new Map(entries) };
  }
  if (typeof tree.value !== "string") return tree;
  const done = interpolate(tree.value, lookup);
  if (!done.ok) {
    notes.refuse("interpolation", tree, done.message);
    return tree;
  }
  for (const name of done.unset) notes.warn(tree, `the variable ${name} is not set: taken as empty`);
  return done.text === tree.value ? tree : { ...tree, value: done.text, source: done.text };
}

/** What an extension holds is used only where an alias brings it, and is judged there. */
const isExtension = (path: Tree["path"], name: string): boolean => path.length === 0 && name.startsWith("x-");
