/** The schema a test database starts with: the repository's migrations, in order. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

export const MIGRATIONS_DIR = fileURLToPath(new URL("../../../migrations", import.meta.url));

const readAll = (): string[] =>
  readdirSync(MIGRATIONS_DIR)
    .filter((name) => /^\d+.*\.sql$/.test(name))
    .sort()
    .map((name) => readFileSync(join(MIGRATIONS_DIR, name), "utf8"));

/** Changes with any change of the schema, so that a template of another schema is never used. */
export const schemaFingerprint = (): string => createHash("sha256").update(readAll().join("\0")).digest("hex").slice(0, 16);
export const migrationTexts = readAll;
