/**
 * The scratch directory of a test engine and everything that lives by it. Its processes are known by the directory in
 * their command lines (dockerd, containerd, shims, proxies) and as the shims' children (the containers), so an engine
 * whose test run was killed with -9 can be cleared away by the next one without touching anybody else's.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../eventually.ts";
import { isAlive } from "../temp-dir.ts";
import { linksIn } from "./address-slice.ts";
import { findProgram } from "./find-engine.ts";

/** Short: containerd's sockets lie below, and a socket's address has room for 107 bytes. */
const PREFIX = "skep-eng-";

/** `cidr` is kept inside: whoever clears the directory away must know which addresses were its. */
export function makeEngineDir(cidr: string): string {
  const dir = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  writeFileSync(join(dir, "cidr"), cidr);
  return dir;
}

/** Ends what still runs from `dir`, takes its links away and removes it. */
export async function clearEngineDir(dir: string): Promise<void> {
  await eventually(() => {
    const pids = processesOf(dir);
    for (const pid of pids) kill(pid);
    return pids.length === 0;
  }, { what: `the processes of the test engine in ${dir} ending`, timeoutMs: 30_000 });
  const cidr = read(join(dir, "cidr"));
  if (cidr !== "") {
    for (const link of linksIn(cidr)) if (link.startsWith("br-")) execFileSync("ip", ["link", "delete", link]);
    allowForwarding(cidr, false);
  }
  rmSync(dir, { recursive: true, force: true });
}

/** Clears away engines whose test process no longer lives. */
export async function sweepEngines(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(/^skep-eng-(\d+)-/.exec(name)?.[1]);
    if (Number.isInteger(pid) && !isAlive(pid)) await clearEngineDir(join(tmpdir(), name));
  }
}

/**
 * containerd dies with a daemon that was killed. Where process 1 is slow to reap it, its pid still looks alive to the
 * next daemon, which would wait for it in vain.
 */
export async function forgetDeadContainerd(dir: string): Promise<void> {
  const isContainerd = (pid: number): boolean => /(^|\/)containerd\0/.test(read(`/proc/${pid}/cmdline`));
  await eventually(() => !processesOf(dir).some(isContainerd), { what: "containerd ending with its daemon" });
  for (const name of ["containerd.pid", "containerd.sock"]) rmSync(join(dir, "exec", "containerd", name), { force: true });
}

/** Another engine on the machine may have set the policy for forwarded packets to DROP, which holds for bridges, too. */
export function allowForwarding(cidr: string, allowed: boolean): void {
  const iptables = findProgram("iptables");
  if (iptables === undefined) return;
  try {
    execFileSync(iptables, ["--wait", allowed ? "-I" : "-D", "FORWARD", "-s", cidr, "-d", cidr, "-j", "ACCEPT"], { stdio: "ignore" });
  } catch (error) {
    // Taking away what is not there fails, and is what was wanted.
    if (allowed) throw error;
  }
}

function processesOf(dir: string): number[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  const own = all.filter((pid) => read(`/proc/${pid}/cmdline`).includes(`${dir}/`));
  const shims = new Set(own.filter((pid) => read(`/proc/${pid}/cmdline`).includes("containerd-shim")));
  const contained = all.filter((pid) => shims.has(Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1])));
  // A zombie has no command line and is not in `own`; as a shim's child it ends with the shim.
  return [...contained.filter((pid) => read(`/proc/${pid}/cmdline`) !== ""), ...own.filter((pid) => pid !== process.pid)];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone by itself
  }
}
