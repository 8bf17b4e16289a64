/**
 * A deployment or a patch from a YAML or JSON file. Every fault names its line and column: a pointer alone makes a
 * person count list items.
 */
import { readFile } from "node:fs/promises";
import { LineCounter, isNode, parseDocument } from "yaml";
import type { Schema } from "./api/schema.ts";
import { pointerOf } from "./api/schema.ts";
import { CliError, usageError, type LocatedError } from "./cli-error.ts";
import type { Session } from "./session.ts";

const MAX_BYTES = 1_048_576;
const MAX_ALIASES = 100;

export interface SpecFile {
  /** As a person knows it: the path, or stdin. */
  readonly name: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** "web.yaml:7:5" for a JSON pointer, or for the nearest thing around it that the file has. */
  locate(pointer: string): string | undefined;
}

export const readSpecFile = async (session: Pick<Session, "readStdin">, path: string): Promise<SpecFile> => parseSpecFile(await readSpecText(session, path), path === "-" ? "stdin" : path);

/** `-` is stdin. Throws a usage error. */
export async function readSpecText(session: Pick<Session, "readStdin">, path: string): Promise<string> {
  let text: string;
  try {
    text = path === "-" ? await session.readStdin() : await readFile(path, "utf8");
  } catch (error) {
    throw usageError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"}).`, "Give a YAML or JSON file, or - for stdin.");
  }
  if (Buffer.byteLength(text) > MAX_BYTES) throw usageError(`${path === "-" ? "stdin" : path} has more than ${MAX_BYTES} bytes.`, "A deployment is small; is this the right file?");
  return text;
}

export function parseSpecFile(text: string, name: string): SpecFile {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  if (doc.errors.length > 0) {
    throw usageError(`${name} is not valid YAML or JSON.`, "Correct it at the places named.", doc.errors.map((error) => ({ at: at(error.pos[0]), pointer: "", message: error.message })));
  }
  let value: unknown;
  try {
    value = doc.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw usageError(`${name} cannot be read: ${(error as Error).message}`, "Write it without so many aliases.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw usageError(`${name} holds no mapping.`, "It has the fields name, spec and placement; see docs/cli.md.");
  return {
    name,
    value: value as Record<string, unknown>,
    locate: (pointer) => {
      const path = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
      for (let depth = path.length; depth > 0; depth--) {
        const steps = path.slice(0, depth).map((part) => (/^\d+$/.test(part) ? Number(part) : part));
        const node = doc.getIn(steps, true);
        if (isNode(node) && node.range) return at(node.range[0]);
      }
      return undefined;
    },
  };
}

/** Checks what is about to be sent, before it is sent. `value`: the file with the flags applied. */
export function checkRequest(schema: Schema<unknown>, value: unknown, file: SpecFile | undefined, name: string): void {
  const parsed = schema.safeParse(value);
  if (parsed.success) return;
  const errors = parsed.error.issues.flatMap((issue): LocatedError[] => {
    const pointer = pointerOf(issue.path);
    const { keys } = issue as { keys?: readonly string[] };
    if (keys !== undefined && issue.message.startsWith("Unrecognized key")) return keys.map((key) => ({ pointer: `${pointer}/${key}`, message: "unknown field" }));
    return [{ pointer, message: issue.message }];
  });
  throw usageError(`${name} is not a valid request.`, "Correct it at the places named; docs/cli.md shows the fields.", locateAll(errors, file));
}

const locateAll = (errors: readonly LocatedError[], file: SpecFile | undefined): LocatedError[] =>
  errors.map((error) => {
    const at = file?.locate(error.pointer);
    return at === undefined ? error : { ...error, at };
  });

/** A refusal by the master, with the places in the person's own file. Anything else passes as it is. */
export function locateRefusal(error: unknown, file: SpecFile | undefined): unknown {
  if (!(error instanceof CliError) || file === undefined || error.facts.errors === undefined) return error;
  return new CliError({ ...error.facts, errors: locateAll(error.facts.errors, file), cause: error });
}
