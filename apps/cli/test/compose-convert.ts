/** A Compose file's text, converted or refused, with what it takes around it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { tempDir } from "@skep/testkit";
import { convertCompose, type ComposeOptions, type Converted } from "../src/compose/convert.ts";

export interface Around extends Partial<Omit<ComposeOptions, "lookup">> {
  readonly env?: Readonly<Record<string, string>>;
}

export const convert = (text: string, { env = {}, ...options }: Around = {}): Promise<Converted> =>
  convertCompose(text, "compose.yaml", { name: "app", folder: "/srv/app", lookup: (name) => (Object.hasOwn(env, name) ? env[name] : undefined), profiles: [], ignoreBuild: false, ...options });

/** `code key line`, or the whole text where it was not refused. */
export function faultsOf(converted: Converted): string[] {
  if (converted.kind === "converted") return [`converted: ${JSON.stringify(converted.spec)}`];
  return converted.faults.map(({ code, key, at }) => `${code} ${key} ${at.split(":")[1]}`);
}

export function converted(result: Converted): Extract<Converted, { kind: "converted" }> {
  if (result.kind === "refused") throw new Error(result.faults.map(({ at, code, key, message }) => `${at} ${code} ${key}: ${message}`).join("\n"));
  return result;
}

/** A folder with files in it. */
export function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = tempDir("compose");
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
