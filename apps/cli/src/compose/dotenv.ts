/** Files of KEY=value, as Compose reads them: quotes, escapes, comments, `export`, and variables in what is not single-quoted. */
import { interpolate, type Lookup } from "./interpolate.ts";

export interface Dotenv {
  readonly values: ReadonlyMap<string, string>;
  readonly faults: readonly { readonly line: number; readonly message: string }[];
  readonly unset: readonly { readonly line: number; readonly name: string }[];
}

const ASSIGNMENT = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*(?:([=:])[ \t]*)?/;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\", $: "$$" };

/** `raw`: values are what follows the =, to the letter. Earlier lines are variables for later ones. */
export function parseDotenv(source: string, lookup: Lookup, format: "dotenv" | "raw" = "dotenv"): Dotenv {
  const values = new Map<string, string>();
  const faults: { line: number; message: string }[] = [];
  const unset: { line: number; name: string }[] = [];
  const text = source.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
  const known: Lookup = (name) => lookup(name) ?? values.get(name);
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const end = text.indexOf("\n", at) === -1 ? text.length : text.indexOf("\n", at);
    const whole = text.slice(at, end);
    const start = line;
    let next = end + 1;
    const match = ASSIGNMENT.exec(whole);
    if (/^\s*(?:#|$)/.test(whole)) {
      // Nothing is said here.
    } else if (match === null) faults.push({ line, message: "is neither NAME=value nor a comment" });
    else {
      const [head, name, sign] = match as unknown as [string, string, string | undefined];
      const rest = whole.slice(head.length);
      if (sign === undefined) {
        // A name alone is taken from the environment, if it has it.
        if (!/^(?:#.*)?$/.test(rest)) faults.push({ line, message: "is neither NAME=value nor a comment" });
        else if (lookup(name) !== undefined) values.set(name, lookup(name)!);
      } else if (format === "raw") values.set(name, rest);
      else {
        const value = readValue(text, at + head.length, end);
        if ("message" in value) faults.push({ line: start, message: value.message });
        else {
          next = value.next;
          const done = value.literal ? { ok: true as const, text: value.text, unset: [] } : interpolate(value.text, known);
          if (!done.ok) faults.push({ line: start, message: done.message });
          else {
            values.set(name, done.text);
            for (const missing of done.unset) unset.push({ line: start, name: missing });
          }
        }
      }
    }
    line += text.slice(at, next).split("\n").length - 1;
    at = next;
  }
  return { values, faults, unset };
}

type Value = { readonly text: string; readonly literal: boolean; readonly next: number } | { readonly message: string };

/** A quoted value may span lines; one without quotes ends with the line, or before a comment. */
function readValue(text: string, from: number, end: number): Value {
  const quote = text[from];
  if (from >= end || (quote !== '"' && quote !== "'")) {
    const plain = text.slice(from, end);
    return { text: (plain.startsWith("#") ? "" : plain.replace(/\s+#.*$/, "")).trim(), literal: false, next: end + 1 };
  }
  let out = "";
  let at = from + 1;
  while (at < text.length && text[at] !== quote) {
    const escaped = quote === '"' && text[at] === "\\" ? text[at + 1] : undefined;
    if (escaped !== undefined) {
      out += ESCAPES[escaped] ?? `\\${escaped}`;
      at += 2;
    } else {
      out += text[at];
      at += 1;
    }
  }
  if (at >= text.length) return { message: "the quote is not closed" };
  const lineEnd = text.indexOf("\n", at) === -1 ? text.length : text.indexOf("\n", at);
  if (!/^\s*(?:#.*)?$/.test(text.slice(at + 1, lineEnd))) return { message: "something follows the closing quote" };
  return { text: out, literal: quote === "'", next: lineEnd + 1 };
}
