/**
 * The authority on disk. Key and certificate are one file, made with an exclusive link, so that there is never a key
 * without its certificate and never a second authority over a first: that would orphan every host at once.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openAuthority, type Authority } from "./authority.ts";
import { createPrivateFile, makePrivateDir, writePrivateFile } from "./files.ts";

const AUTHORITY_FILE = "authority.pem";
/** A copy of the certificate for curl and openssl. Nothing of ours reads it. */
const CERT_FILE = "ca.pem";

/** The authority in `dir`, made by `make` when there is none. Throws `invalid_request` when the one there is damaged. */
export async function openOrCreateAuthority(dir: string, make: () => Authority): Promise<Authority> {
  const found = await loadAuthority(dir);
  if (found !== undefined) return found;
  await makePrivateDir(dir);
  const made = make();
  await createPrivateFile(join(dir, AUTHORITY_FILE), `${made.keyPem.trimEnd()}\n${made.certPem}`);
  // Read back rather than returned: another master may have won, and then its authority is ours.
  const authority = await loadAuthority(dir);
  if (authority === undefined) throw new Error("the authority vanished while it was made");
  await writePrivateFile(join(dir, CERT_FILE), authority.certPem);
  return authority;
}

/** The authority in `dir`, undefined when there is none. Throws `invalid_request` when it is damaged. */
export async function loadAuthority(dir: string): Promise<Authority | undefined> {
  let text: string;
  try {
    text = await readFile(join(dir, AUTHORITY_FILE), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const at = text.indexOf("-----BEGIN CERTIFICATE-----");
  return openAuthority({ keyPem: at < 0 ? text : text.slice(0, at), certPem: at < 0 ? "" : text.slice(at) });
}
