/** Everything about a program that can be known before it is executed. Resolves names the way execvp will. */
import { constants } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { DriverError } from "@skep/core";
import type { ComponentSpec } from "@skep/core";
import { asDriverError } from "../driver-errors.ts";

/** Makes the working directory when it is missing; returns its absolute path. `base` holds relative ones. */
export async function ensureWorkingDir(spec: ComponentSpec, base: string): Promise<string> {
  const path = spec.working_dir === undefined ? base : resolve(base, spec.working_dir);
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw asDriverError(error, "working_dir_missing", `the working directory ${path} cannot be made`);
  }
  return path;
}

/** Throws `program_not_found` or `not_executable`. `path` is the PATH the program itself will have. */
export async function checkProgram(program: string, workingDir: string, path: string): Promise<void> {
  if (program === "") throw new DriverError("program_not_found", "the command is empty: its first element names the program");
  const candidates = program.includes("/")
    ? [isAbsolute(program) ? program : resolve(workingDir, program)]
    : path.split(":").map((directory) => join(resolve(workingDir, directory), program));
  let unusable: string | undefined;
  for (const candidate of candidates) {
    const found = await stat(candidate).catch(() => undefined);
    if (found === undefined) continue;
    const executable = found.isFile() && (await access(candidate, constants.X_OK).then(() => true, () => false));
    if (executable) return;
    unusable ??= candidate;
  }
  if (unusable !== undefined) throw new DriverError("not_executable", `${unusable} is not an executable file; set its executable bit or name another program`);
  const where = program.includes("/") ? candidates[0] : `PATH ${path}`;
  throw new DriverError("program_not_found", `the program ${JSON.stringify(program)} was not found (looked at ${where})`);
}

/** Ports a probe names must exist, or it could never pass. */
export function checkProbe(spec: ComponentSpec): void {
  const { probe } = spec;
  if (probe === undefined || probe.type === "exec" || typeof probe.port === "number") return;
  const { port } = probe;
  if (!spec.ports.some(({ name }) => name === port)) throw new DriverError("spec_refused", `the probe of ${spec.name} names port ${JSON.stringify(port)}, which the component does not have`);
}
