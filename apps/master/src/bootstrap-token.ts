/**
 * The way in on the first start: an admin token, written 0600 below the state directory and printed once. Made whenever
 * no live admin token exists, so that nobody is locked out for good who can read the directory of the CA anyway.
 */
import { join } from "node:path";
import { addMs, DAY_MS, type Rng, type Store } from "@skep/core";
import { writePrivateFile } from "@skep/pki";
import { newToken } from "./http/tokens.ts";

export const ADMIN_TOKEN_FILE = "admin.token";
const VALID_MS = 90 * DAY_MS;

/** The new token, or undefined when there is a live one. */
export async function ensureAdminToken(store: Store, stateDir: string, rng: Rng): Promise<string | undefined> {
  const now = await store.now();
  const tokens = await store.listApiTokens();
  if (tokens.some((token) => token.role === "admin" && token.revokedAt === undefined && token.expiresAt > now)) return undefined;
  const made = newToken(now, rng);
  // The file first: a token in the database that nobody ever saw would lock everybody out.
  await writePrivateFile(join(stateDir, ADMIN_TOKEN_FILE), `${made.token}\n`);
  await store.transaction(async (tx) => {
    await tx.insertApiToken({ id: made.id, name: "bootstrap", role: "admin", secretHash: made.secretHash, expiresAt: addMs(now, VALID_MS) });
    await tx.appendAudit({ actor: "master", action: "token.create", subject: `token:${made.id}`, outcome: "allowed", detail: { role: "admin", name: "bootstrap" } });
  });
  return made.token;
}
