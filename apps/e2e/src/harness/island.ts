/**
 * A network of its own for one agent: a namespace joined to the machine by one link, whose packets a test drops by
 * direction. Every rule lives inside, so that nothing of the machine's own network is touched, and goes with the namespace.
 * Only root can make one. Namespaces carry the test process's pid: those of processes that died are removed by the next.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { isAlive } from "@skep/testkit";

export interface Island {
  readonly name: string;
  /** The machine's address on the link, as the agent sees its master. */
  readonly outside: string;
  /** The agent's. */
  readonly inside: string;
  /** Runs a program in there. */
  readonly under: readonly string[];
  /** Packets that come in for this TCP port are dropped, of open connections too: whoever asks hears nothing. */
  dropToPort(port: number): void;
  /** Packets that leave for this TCP port are dropped. */
  dropFromHere(port: number): void;
  heal(): void;
  remove(): void;
}

const PREFIX = "skep-island-";
const run = (program: string, ...argv: string[]): string => execFileSync(program, argv, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** Undefined where none can be made, after a loud line that says why. */
export function createIsland(): Island | undefined {
  const name = `${PREFIX}${process.pid}-${randomBytes(3).toString("hex")}`;
  const remove = (): void => removeNamespace(name);
  try {
    sweep();
    run("ip", "netns", "add", name);
    process.once("exit", remove);
    return join(name, remove);
  } catch (error) {
    remove();
    console.warn(`\n*** NO NETWORK NAMESPACES: tests of links that fail one way are SKIPPED (${error instanceof Error ? error.message.split("\n")[0] : String(error)}) ***\n`);
    return undefined;
  }
}

function join(name: string, remove: () => void): Island {
  const [a, b, c, d] = [...randomBytes(4)] as [number, number, number, number];
  // 198.18.0.0/15 is set aside for tests of networks: nobody lives there.
  const net = `198.${18 + (a % 2)}.${b}`;
  const last = (c % 63) * 4;
  const [outside, inside] = [`${net}.${last + 1}`, `${net}.${last + 2}`];
  const link = `skp${d.toString(16)}${c.toString(16)}${process.pid.toString(36)}`.slice(0, 14);
  const there = ["netns", "exec", name];
  run("ip", "link", "add", link, "type", "veth", "peer", "name", "uplink", "netns", name);
  run("ip", "address", "add", `${outside}/30`, "dev", link);
  run("ip", "link", "set", link, "up");
  for (const command of [["address", "add", `${inside}/30`, "dev", "uplink"], ["link", "set", "uplink", "up"], ["link", "set", "lo", "up"]]) run("ip", ...there, "ip", ...command);
  const rule = (...words: string[]): void => void run("ip", ...there, "iptables", "-w", ...words);
  // Asked now, so that a machine without a packet filter is known before anything stands on it.
  rule("-F");
  return {
    name, outside, inside, remove,
    under: ["ip", ...there],
    dropToPort: (port) => rule("-A", "INPUT", "-p", "tcp", "--dport", String(port), "-j", "DROP"),
    dropFromHere: (port) => rule("-A", "OUTPUT", "-p", "tcp", "--dport", String(port), "-j", "DROP"),
    heal: () => rule("-F"),
  };
}

/** The link goes with the namespace that holds its other end. */
function removeNamespace(name: string): void {
  try {
    run("ip", "netns", "delete", name);
  } catch {
    // It was never made, or is gone already.
  }
}

function sweep(): void {
  for (const { name } of JSON.parse(run("ip", "-j", "netns", "list") || "[]") as { name: string }[]) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split("-")[0]) : undefined;
    if (pid !== undefined && !isAlive(pid)) removeNamespace(name);
  }
}
