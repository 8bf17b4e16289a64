/** Whether this machine can run a Docker Engine of the tests' own, and if not, why: a skipped test must say so. */
import { accessSync, constants, readFileSync } from "node:fs";
import { join } from "node:path";

/** Only what makes a private engine possible without touching one that the machine may already run. */
const NEEDED = ["dockerd", "containerd", "runc", "unshare", "ip"] as const;
const PLACES = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

export const ENGINE_PATH = PLACES.join(":");

export interface EngineTools {
  readonly busybox: string;
  /** Absent on a machine without it: then nobody's rules can be in the way of the test engine's bridges either. */
  readonly iptables: string | undefined;
}

/** The tools, or why there can be no engine. */
export function findEngine(): EngineTools | { readonly missing: string } {
  if (process.platform !== "linux") return { missing: `a Docker Engine needs Linux, this is ${process.platform}` };
  if (process.getuid?.() !== 0) return { missing: "a private dockerd needs root" };
  const absent = NEEDED.filter((name) => findProgram(name) === undefined);
  if (absent.length > 0) return { missing: `not installed: ${absent.join(", ")} (Debian: docker.io, iproute2)` };
  const busybox = findProgram("busybox");
  if (busybox === undefined || !isStatic(busybox)) return { missing: "not installed: a static busybox to make images of (Debian: busybox-static)" };
  return { busybox, iptables: findProgram("iptables") };
}

export function findProgram(name: string): string | undefined {
  return PLACES.map((place) => join(place, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A dynamic one names its loader, which an image without a C library does not have. */
const isStatic = (path: string): boolean => !readFileSync(path).includes("/ld-linux") && !readFileSync(path).includes("/ld-musl");
