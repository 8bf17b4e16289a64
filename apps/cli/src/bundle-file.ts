/**
 * The file of a bundle. It holds a one-time token and perhaps a key: 0600 from its first byte, and never over
 * another file. It is made before the master is asked, so that a token is not spent on a disk that refuses it.
 */
import { open, rm } from "node:fs/promises";
import { CliError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";

export interface BundleFile {
  readonly path: string;
  write(bundle: unknown): Promise<void>;
  /** Removes the empty file again. */
  discard(): Promise<void>;
}

export async function createBundleFile(path: string): Promise<BundleFile> {
  const handle = await open(path, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
    throw error.code === "EEXIST"
      ? new CliError({ code: "file_exists", detail: `${path} exists and is not overwritten.`, exit: EXIT.conflict, fix: "Remove it, or give another name with --out." })
      : notWritten(path, error, "Give a path you may write with --out.");
  });
  return {
    path,
    write: async (bundle) => {
      try {
        // The umask may have taken bits away and never added any; said again for file systems that ignore the mode.
        await handle.chmod(0o600);
        await handle.writeFile(`${JSON.stringify(bundle, null, 2)}\n`);
        await handle.sync();
      } catch (error) {
        await rm(path, { force: true });
        throw notWritten(path, error as NodeJS.ErrnoException, "Make room, then ask for a new bundle: skep host bundle NAME. The host exists; this token is lost.");
      } finally {
        await handle.close();
      }
    },
    discard: async () => {
      await handle.close().catch(() => undefined);
      await rm(path, { force: true });
    },
  };
}

const notWritten = (path: string, error: NodeJS.ErrnoException, fix: string): CliError =>
  new CliError({ code: "file_not_written", detail: `${path} cannot be written (${error.code ?? "error"}).`, exit: EXIT.usage, fix });

/** The whole bundle on one line, to be pasted: `skep agent enrol <this>`. */
export const pastedBundle = (bundle: unknown): string => Buffer.from(JSON.stringify(bundle)).toString("base64url");
