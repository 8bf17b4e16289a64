/**
 * The published Compose schema, applied. The text is vendored unchanged (schema/README.md); ajv turns it into code once
 * per run, from that text alone and never from anything a file holds. Both are loaded only when a Compose file is read:
 * every other command must not pay for them.
 */
import { canonicalJson } from "@skep/core";
import type { ErrorObject, SchemaValidateFunction, ValidateFunction } from "ajv";

let compiled: Promise<ValidateFunction> | undefined;

/** [] = what the schema allows. */
export async function schemaErrors(value: unknown): Promise<readonly ErrorObject[]> {
  const validate = await (compiled ??= compile());
  return validate(value) ? [] : [...(validate.errors ?? [])];
}

async function compile(): Promise<ValidateFunction> {
  const [{ Ajv }, { default: schema }] = await Promise.all([import("ajv"), import("./schema/compose-spec.json", { with: { type: "json" } })]);
  // Not strict: the schema has keywords and formats of its authors' own (`deprecated`, `format: ports`), which judge nothing here.
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: false, validateSchema: false, validateFormats: false, logger: false });
  // Its own comparison calls the `valueOf` of what it compares, and a file may have a key of that name.
  ajv.removeKeyword("uniqueItems").addKeyword({ keyword: "uniqueItems", type: "array", schemaType: "boolean", errors: true, validate: uniqueItems });
  return ajv.compile(schema);
}

const uniqueItems: SchemaValidateFunction = (wanted: boolean, items: readonly unknown[]) => {
  const seen = new Set<string>();
  const twice = wanted ? items.flatMap((item, i) => (seen.size === seen.add(canonicalJson(item)).size ? [{ keyword: "uniqueItems", params: { i } }] : [])) : [];
  uniqueItems.errors = twice;
  return twice.length === 0;
};
