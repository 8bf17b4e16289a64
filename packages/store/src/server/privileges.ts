/**
 * As whom PostgreSQL runs. It refuses to be root, and a state directory is often below a 0700 folder that no other
 * user may enter. A user namespace solves both: inside it we are uid 1000, outside our files stay ours. Where the
 * kernel forbids namespaces the server runs as another user, from a place that user can reach.
 */
import { readFile } from "node:fs/promises";
import { SkepError } from "@skep/core";
import { runCommand } from "./run-command.ts";
import type { Credentials } from "./run-command.ts";

export type PrivilegeMode = "direct" | "userns" | "dropped-user";

export interface Privileges {
  readonly how: PrivilegeMode;
  /** Put before the program's argv. */
  readonly prefix: readonly string[];
  readonly as: Credentials | undefined;
}

const USERNS = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"];
const NOBODY = 65_534;

/** The ways that could work here, best first. `wanted` narrows them to one. */
export async function findPrivileges(wanted: PrivilegeMode | undefined): Promise<readonly Privileges[]> {
  const root = process.getuid?.() === 0;
  const direct: Privileges = { how: "direct", prefix: [], as: undefined };
  const possible: Privileges[] = [];
  if (!root) possible.push(direct);
  if (root && (await runCommand([...USERNS, "true"], undefined, 10_000)).code === 0) possible.push({ how: "userns", prefix: USERNS, as: undefined });
  if (root) possible.push({ how: "dropped-user", prefix: [], as: await findUnprivilegedUser() });
  const usable = possible.filter(({ how }) => wanted === undefined || how === wanted);
  if (usable.length === 0) throw new SkepError("database_unavailable", `PostgreSQL cannot run as "${wanted}" here; possible: ${possible.map(({ how }) => how).join(", ")}`);
  return usable;
}

/** The machine's postgres user if there is one, for tidy process lists; else nobody. */
async function findUnprivilegedUser(): Promise<Credentials> {
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  const fields = passwd.split("\n").map((line) => line.split(":"));
  const found = fields.find(([name]) => name === "postgres") ?? fields.find(([name]) => name === "nobody");
  return { uid: Number(found?.[2] ?? NOBODY), gid: Number(found?.[3] ?? NOBODY) };
}
