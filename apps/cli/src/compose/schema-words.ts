/** The schema's verdict in words, one fault for one mistake: a failed `oneOf` alone reports every branch it tried. */
import type { ErrorObject } from "ajv";
import type { ComposeCode } from "./fault.ts";

export interface SchemaFault {
  readonly code: ComposeCode;
  readonly path: readonly string[];
  /** The fault is a key of what stands at `path`. */
  readonly key?: string;
  readonly message: string;
}

export function schemaFaults(errors: readonly ErrorObject[]): SchemaFault[] {
  const unions = new Set(errors.filter(isUnion).map((error) => error.instancePath));
  const plain = errors.filter((error) => !isUnion(error));
  // A branch of the wrong type says nothing about the value; one that got deeper was the one that was meant.
  const telling = (error: ErrorObject, union: string): boolean => (error.instancePath === union ? error.keyword !== "type" : error.instancePath.startsWith(`${union}/`));
  const silenced = (error: ErrorObject): boolean => unions.has(error.instancePath) && error.keyword === "type";
  const faults = plain.filter((error) => !silenced(error)).map(faultOf);
  for (const union of unions) {
    if (plain.some((error) => telling(error, union))) continue;
    const types = plain.filter((error) => error.instancePath === union && error.keyword === "type").flatMap((error) => typesOf(error.params));
    faults.push({ code: "schema", path: pathOf(union), message: types.length === 0 ? "fits none of the forms that Compose allows here" : `must be ${anyOf(types)}` });
  }
  return faults;
}

const isUnion = ({ keyword }: ErrorObject): boolean => keyword === "oneOf" || keyword === "anyOf";
const pathOf = (pointer: string): string[] => pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
const typesOf = (params: Record<string, unknown>): string[] => [params["type"]].flat().map(String);

const TYPES: Readonly<Record<string, string>> = { object: "a mapping", array: "a list", string: "text", number: "a number", integer: "a whole number", boolean: "true or false", null: "nothing" };
const anyOf = (types: readonly string[]): string => [...new Set(types)].map((type) => TYPES[type] ?? type).join(" or ");

function faultOf(error: ErrorObject): SchemaFault {
  const path = pathOf(error.instancePath);
  const params = error.params as Record<string, unknown>;
  const text = (name: string): string => String(params[name]);
  switch (error.keyword) {
    case "additionalProperties": {
      const key = text("additionalProperty");
      const known = Object.keys((error.parentSchema?.["properties"] as object | undefined) ?? {});
      const near = known.find((name) => isNear(name, key));
      const rule = Object.keys((error.parentSchema?.["patternProperties"] as object | undefined) ?? {}).find((pattern) => pattern !== "^x-");
      return { code: "unknown_key", path, key, message: known.length === 0 && rule !== undefined ? `the name ${key} is not of the form ${rule}` : `Compose has no key ${key} here${near === undefined ? "" : `; did you mean ${near}?`}` };
    }
    case "type":
      return { code: "schema", path, message: `must be ${anyOf(typesOf(params))}` };
    case "enum":
      return { code: "schema", path, message: `must be one of ${(params["allowedValues"] as unknown[]).join(", ")}` };
    case "required":
      return { code: "schema", path, message: `needs the key ${text("missingProperty")}` };
    case "uniqueItems":
      return { code: "schema", path: [...path, text("i")], message: "stands in the list twice" };
    default:
      return { code: "schema", path, message: error.message ?? "is not what Compose allows here" };
  }
}

/** One letter too many, too few, other, or two exchanged. */
function isNear(known: string, typed: string): boolean {
  if (Math.abs(known.length - typed.length) > 1) return false;
  let start = 0;
  while (start < known.length && known[start] === typed[start]) start += 1;
  let end = 0;
  while (end < Math.min(known.length, typed.length) - start && known.at(-1 - end) === typed.at(-1 - end)) end += 1;
  const [a, b] = [known.slice(start, known.length - end), typed.slice(start, typed.length - end)];
  return (a.length <= 1 && b.length <= 1) || (a.length === 2 && a[0] === b[1] && a[1] === b[0]);
}
