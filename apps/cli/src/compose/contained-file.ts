/**
 * Reads a file that a Compose file names. Such a file may come from anywhere, so what it can reach ends at its own
 * folder: by the words of the path, and by where links really lead (faults F39).
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync } from "node:fs";
import { isAbsolute, relative, resolve, sep } from "node:path";

/** Too small refuses real env files; too large lets a file that is not one into memory and into a spec. */
const MAX_BYTES = 262_144;

export type ContainedFile =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "missing" }
  | { readonly kind: "outside" }
  | { readonly kind: "unreadable"; readonly because: string };

export function readContained(folder: string, path: string): ContainedFile {
  if (path === "" || path.includes("\0")) return { kind: "unreadable", because: "not a path" };
  const named = resolve(folder, path);
  // First by words alone: whether /etc/shadow exists is not ours to tell.
  if (!isBelow(resolve(folder), named)) return { kind: "outside" };
  let handle: number | undefined;
  try {
    const real = realpathSync(named);
    if (!isBelow(realpathSync(folder), real)) return { kind: "outside" };
    // Not blocking: a named pipe would otherwise be waited for. No link: it was resolved a moment ago.
    handle = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stat = fstatSync(handle);
    if (!stat.isFile()) return { kind: "unreadable", because: "not a regular file" };
    if (stat.size > MAX_BYTES) return { kind: "unreadable", because: `more than ${MAX_BYTES} bytes` };
    return { kind: "text", text: readFileSync(handle, "utf8") };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "error";
    return code === "ENOENT" || code === "ENOTDIR" ? { kind: "missing" } : { kind: "unreadable", because: code };
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
