/** A service's variables: its env files in their order, and `environment` over them. */
import { AGENT_VARIABLES } from "@skep/core";
import { readContained } from "./contained-file.ts";
import { parseDotenv } from "./dotenv.ts";
import { checkKeys } from "./keys.ts";
import { child } from "./read.ts";
import type { Context } from "./context.ts";
import type { Place } from "./fault.ts";
import type { MapTree, Tree } from "./tree.ts";

export interface Variables {
  readonly env: Record<string, string>;
  readonly places: ReadonlyMap<string, Place>;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MAX_NAME = 128;

export function readEnvironment(context: Context, service: MapTree): Variables {
  const { reader, notes, lookup } = context;
  const env = new Map<string, string>();
  const places = new Map<string, Place>();
  const put = (name: string, value: string, place: Place): void => {
    if (!NAME.test(name) || name.length > MAX_NAME) return reader.refuse("bad_value", place, `${name} is not a variable's name: letters, digits and _, not beginning with a digit`);
    if ((AGENT_VARIABLES as readonly string[]).includes(name)) return reader.refuse("unsupported_value", place, `${name} is set by the agent: it tells whose the container is`);
    env.set(name, value);
    places.set(name, place);
  };
  for (const file of envFiles(context, child(service, "env_file"))) {
    for (const [name, value] of readEnvFile(context, file)) put(name, value, file.place);
  }
  for (const { name, value, place } of reader.pairs(child(service, "environment"))) {
    const found = value ?? lookup(name);
    if (found !== undefined) put(name, found, place);
    else {
      // Compose does not fall back to an env file's value either.
      env.delete(name);
      notes.warn(place, `the variable ${name} is not set: left out`);
    }
  }
  return { env: Object.fromEntries(env), places };
}

interface EnvFile {
  readonly path: string;
  readonly place: Tree;
  readonly required: boolean;
  readonly format: "dotenv" | "raw";
}

function envFiles({ reader, notes }: Context, tree: Tree | undefined): EnvFile[] {
  return (tree === undefined ? [] : tree.kind === "list" ? tree.items : [tree]).flatMap((item): EnvFile[] => {
    if (item.kind !== "map") {
      const path = reader.text(item);
      return path === undefined ? [] : [{ path, place: item, required: true, format: "dotenv" }];
    }
    checkKeys(notes, item, "env_file");
    const place = child(item, "path");
    const path = reader.text(place);
    const formatTree = child(item, "format");
    const format = reader.text(formatTree) ?? "dotenv";
    if (formatTree !== undefined && format !== "raw" && format !== "dotenv") reader.refuse("unsupported_value", formatTree, `${format} is no format of env files: leave it out, or use raw`);
    return path === undefined || place === undefined ? [] : [{ path, place, required: reader.boolean(child(item, "required")) ?? true, format: format === "raw" ? "raw" : "dotenv" }];
  });
}

function readEnvFile({ reader, notes, folder, lookup }: Context, { path, place, required, format }: EnvFile): ReadonlyMap<string, string> {
  const none: ReadonlyMap<string, string> = new Map();
  if (folder === undefined) return reader.refuse("unreadable_file", place, "a Compose file from stdin has no folder to look for env files in: use -f FILE") ?? none;
  const file = readContained(folder, path);
  switch (file.kind) {
    case "outside":
      return reader.refuse("path_escape", place, `${path} leads out of the Compose file's folder: only files inside it are read`) ?? none;
    case "missing":
      return required ? (reader.refuse("unreadable_file", place, `there is no file ${path}`) ?? none) : none;
    case "unreadable":
      return reader.refuse("unreadable_file", place, `${path} cannot be read: ${file.because}`) ?? none;
    case "text": {
      const { values, faults, unset } = parseDotenv(file.text, lookup, format);
      // Never what the line says: env files hold secrets.
      for (const fault of faults) reader.refuse("unreadable_file", place, `${path} line ${fault.line}: ${fault.message}`);
      for (const missing of unset) notes.warn(place, `${path} line ${missing.line}: the variable ${missing.name} is not set: taken as empty`);
      return values;
    }
  }
}
