/**
 * Variables in values, as Compose has them: $VAR ${VAR} ${VAR:-default} ${VAR-default} ${VAR:?message} ${VAR?message}
 * ${VAR:+other} ${VAR+other} and $$ for a dollar. Nothing is ever executed, and what a variable holds is not looked
 * into again.
 */
export type Lookup = (name: string) => string | undefined;
export type Interpolated = { readonly ok: true; readonly text: string; /** Looked for in vain, and taken as empty. */ readonly unset: readonly string[] } | { readonly ok: false; readonly message: string };

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const OPERATOR = /:?[-?+]/y;
const MAX_DEPTH = 16;

class Problem extends Error {}

export function interpolate(text: string, lookup: Lookup): Interpolated {
  if (!text.includes("$")) return { ok: true, text, unset: [] };
  const unset = new Set<string>();
  let at = 0;

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  /** `live`: false in a branch that was not chosen, where nothing is missing. */
  const read = (depth: number, live: boolean): string => {
    if (depth > MAX_DEPTH) throw new Problem(`variables within variables, more than ${MAX_DEPTH} deep`);
    let out = "";
    while (at < text.length) {
      const char = text[at]!;
      if (char === "}" && depth > 0) break;
      at += 1;
      if (char !== "$") out += char;
      else if (text[at] === "$") {
        at += 1;
        out += "$";
      } else if (text[at] === "{") {
        at += 1;
        out += readBraced(depth, live);
      } else {
        const name = take(NAME);
        if (name === undefined) throw new Problem("a $ that begins no variable: write $$ for a dollar");
        out += valueOf(name, live);
      }
    }
    return out;
  };
  const readBraced = (depth: number, live: boolean): string => {
    const name = take(NAME);
    if (name === undefined) throw new Problem("${…} must begin with a variable's name: write $$ for a dollar");
    const operator = take(OPERATOR);
    const value = lookup(name);
    const given = operator?.startsWith(":") === true ? value !== undefined && value !== "" : value !== undefined;
    const kind = operator?.at(-1);
    const chosen = kind === "+" ? given : !given;
    const word = operator === undefined ? "" : read(depth + 1, live && chosen);
    if (text[at] !== "}") throw new Problem(`\${${name}… is not closed, or holds what Compose does not know`);
    at += 1;
    if (kind === undefined) return valueOf(name, live);
    if (kind === "+") return given ? word : "";
    if (given) return value!;
    if (kind === "?" && live) throw new Problem(`the variable ${name} is required${word === "" ? "" : `: ${word}`}`);
    return word;
  };
  const valueOf = (name: string, live: boolean): string => {
    const value = lookup(name);
    if (value === undefined && live) unset.add(name);
    return value ?? "";
  };

  try {
    return { ok: true, text: read(0, true), unset: [...unset] };
  } catch (error) {
    if (error instanceof Problem) return { ok: false, message: error.message };
    throw error;
  }
}
