/** Where a path leads on this host: every link followed. Undefined = there is nothing; a loop or a refusal rejects. */
import { realpath } from "node:fs/promises";

export const realPath = (path: string): Promise<string | undefined> =>
  realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
