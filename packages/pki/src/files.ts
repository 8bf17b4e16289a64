/**
 * Private files that are whole or not there. The order is what survives a power cut: bytes to the disk, then the
 * name, then the directory that holds the name; leave one out and a crash can leave an empty key under a good name.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

/** Writes `path` at once and 0600, in place of whatever was there. Throws what the file system throws. */
export async function writePrivateFile(path: string, data: string | Uint8Array): Promise<void> {
  await viaTemporary(path, data, (temporary) => rename(temporary, path));
}

/** The same, but only where nothing is: false, and nothing changed, when `path` exists. Of two callers one wins. */
export async function createPrivateFile(path: string, data: string | Uint8Array): Promise<boolean> {
  let created = true;
  await viaTemporary(path, data, async (temporary) => {
    try {
      await link(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      created = false;
    }
  });
  return created;
}

/** Makes a directory 0700 with its parents, and syncs their names. One that exists keeps its mode: its owner may have reasons. */
export async function makePrivateDir(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = resolve(path); made.length >= resolve(first).length; made = dirname(made)) await syncDir(dirname(made));
}

export async function syncDir(path: string): Promise<void> {
  const dir = await open(path, "r");
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

async function viaTemporary(path: string, data: string | Uint8Array, publish: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    // wx: a file or a link that somebody put there first is never written through.
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await publish(temporary);
    await syncDir(dirname(path));
  } finally {
    await rm(temporary, { force: true });
  }
}
