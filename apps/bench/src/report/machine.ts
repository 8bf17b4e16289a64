/** On what the figures were taken: without it they mean nothing. */
import { execFileSync } from "node:child_process";
import { arch, cpus, loadavg, release, totalmem } from "node:os";

export function machineFacts(postgres: string, quick: boolean): string[] {
  const commit = tryGit(["rev-parse", "--short", "HEAD"]);
  const dirty = tryGit(["status", "--porcelain", "--untracked-files=no"]);
  return [
    `${quick ? "Quick run" : "Full run"} of ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC at commit ${commit ?? "unknown"}${dirty === undefined || dirty === "" ? "" : " with uncommitted changes"}`,
    `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()} ${arch()}; client, server and database share the cores`,
    `Node ${process.version} (OpenSSL ${process.versions.openssl}), ${postgres}, fsync on; load average before the run ${loadavg()[0]!.toFixed(1)}`,
  ];
}

function tryGit(argv: readonly string[]): string | undefined {
  try {
    return execFileSync("git", [...argv], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}
