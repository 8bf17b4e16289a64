/**
 * The published Compose schema, applied. The text is vendored unchanged (schema/README.md); ajv turns it into code once
 * per run, from that text alone and never from anything a file holds. Both are loaded only when a Compose file is read:
 * every other command must not pay for them.
 */
import type { ErrorObject, ValidateFunction } from "ajv";

let compiled: Promise<ValidateFunction> | undefined;

/** [] = what the schema allows. */
export async function schemaErrors(value: unknown): Promise<readonly ErrorObject[]> {
  const validate = await (compiled ??= compile());
  return validate(value) ? [] : [...(validate.errors ?? [])];
}

async function compile(): Promise<ValidateFunction> {
  const [{ Ajv }, { default: schema }] = await Promise.all([import("ajv"), import("./schema/compose-spec.json", { with: { type: "json" } })]);
  // Not strict: the schema has keywords and formats of its authors' own (`deprecated`, `format: ports`), which judge nothing here.
  return new Ajv({ allErrors: true, verbose: true, strict: false, validateSchema: false, validateFormats: false, logger: false }).compile(schema);
}
