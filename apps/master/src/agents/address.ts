/**
 * Where the master may call (faults F49). An agent's address is an input like any other: without these rules whoever
 * can enrol a host can make the master speak to the cloud's metadata service or to its own loopback.
 * Invariants: metadata and unspecified addresses are refused whatever the settings; a name is resolved once and the
 * connection goes to the literal address that was judged, so a second DNS answer changes nothing.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP, isIPv4 } from "node:net";
import { SkepError } from "@skep/core";

export interface AddressPolicy {
  /** Loopback and link-local are allowed: `skep up`, tests and the demo. */
  readonly allowLoopback: boolean;
  /** The address must lie inside, for example `10.1.0.0/16`. */
  readonly allowedCidr: string | undefined;
}

export interface CheckedAddress {
  readonly url: URL;
  /** The literal address; undefined while it is a name that must be resolved. */
  readonly ip: string | undefined;
}

const blockList = (...subnets: [string, number, "ipv4" | "ipv6"][]): BlockList => {
  const list = new BlockList();
  for (const [net, prefix, family] of subnets) list.addSubnet(net, prefix, family);
  return list;
};

/** Cloud metadata services, "this network", multicast and broadcast: nothing of ours ever lives there. */
const NEVER = blockList(
  ["169.254.169.254", 32, "ipv4"], ["169.254.170.2", 32, "ipv4"], ["100.100.100.200", 32, "ipv4"], ["fd00:ec2::254", 128, "ipv6"], ["fd20:ce::254", 128, "ipv6"],
  ["0.0.0.0", 8, "ipv4"], ["224.0.0.0", 4, "ipv4"], ["240.0.0.0", 4, "ipv4"], ["::", 128, "ipv6"], ["ff00::", 8, "ipv6"],
);
const LOCAL = blockList(["127.0.0.0", 8, "ipv4"], ["169.254.0.0", 16, "ipv4"], ["::1", 128, "ipv6"], ["fe80::", 10, "ipv6"]);

/**
 * Judges the text of an agent's URL without touching the network: https, no credentials, path or query, and a literal
 * address by the rules. Throws `address_refused`. A name passes here and is judged again by `resolveAgentAddress`.
 */
export function checkAgentAddress(text: string, policy: AddressPolicy): CheckedAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.protocol !== "https:") throw refused("it must be a URL of the form https://host:port");
  if (url.username !== "" || url.password !== "" || (url.pathname !== "/" && url.pathname !== "") || url.search !== "" || url.hash !== "") throw refused("it must be a host and a port and nothing else");
  if (url.port === "0") throw refused("port 0 is not a port to call");
  // The URL parser has turned 0x7f.1, 2130706433 and their kin into dotted form by now.
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  if (isIP(host) === 0) {
    if (isLocalName(host) && !policy.allowLoopback) throw refused("loopback addresses need a master started with --allow-loopback-agents");
    return { url, ip: undefined };
  }
  judgeAddress(host, policy, refused);
  return { url, ip: host };
}

/** The literal address to connect to, resolved once. Every address a name has must be allowed: one bad answer of several is an attack or a mistake. */
export async function resolveAgentAddress(text: string, policy: AddressPolicy, resolve: (name: string) => Promise<readonly string[]> = lookupAll): Promise<{ readonly url: URL; readonly ip: string }> {
  const { url, ip } = checkAgentAddress(text, policy);
  if (ip !== undefined) return { url, ip };
  const found = await resolve(url.hostname);
  for (const address of found) judgeAddress(address, policy, refused);
  if (found[0] === undefined) throw refused("its name has no address");
  return { url, ip: found[0] };
}

export const isLocalName = (host: string): boolean => host === "localhost" || host.endsWith(".localhost");

export const lookupAll = async (name: string): Promise<readonly string[]> => (await lookup(name, { all: true })).map(({ address }) => address);

/** Judges a literal address, also for others that call what somebody named; `refused` words their refusal. */
export function judgeAddress(address: string, policy: AddressPolicy, refused: (why: string) => SkepError): void {
  const plain = withoutEmbedding(address);
  const family = isIPv4(plain) ? "ipv4" : "ipv6";
  if (NEVER.check(plain, family)) throw refused("metadata, unspecified and multicast addresses are never called");
  if (!policy.allowLoopback && LOCAL.check(plain, family)) throw refused("loopback and link-local addresses need a master started with --allow-loopback-agents");
  if (policy.allowedCidr !== undefined && !isInside(plain, family, policy.allowedCidr)) throw refused(`it lies outside the host's allowed_cidr ${policy.allowedCidr}`);
}

function isInside(address: string, family: "ipv4" | "ipv6", cidr: string): boolean {
  const [net, prefix] = cidr.split("/");
  const kind = isIP(net ?? "");
  if (net === undefined || prefix === undefined || kind === 0) return false;
  const list = new BlockList();
  list.addSubnet(net, Number(prefix), kind === 4 ? "ipv4" : "ipv6");
  return list.check(address, family);
}

/**
 * IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4) judged as the IPv4 address that is reached; otherwise
 * `::ffff:127.0.0.1` would be a way round every rule above.
 */
function withoutEmbedding(address: string): string {
  const [text = address] = address.split("%");
  if (isIPv4(text)) return text;
  const hextets = expand(text);
  if (hextets === undefined) return text;
  const v4 = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join(".");
  const head = hextets.slice(0, 6).join(":");
  const tail = v4(hextets[6] ?? 0, hextets[7] ?? 0);
  if (head === "0:0:0:0:0:65535" || head === "100:65435:0:0:0:0" || (head === "0:0:0:0:0:0" && hextets[6] !== 0)) return tail;
  if (hextets[0] === 0x2002) return v4(hextets[1] ?? 0, hextets[2] ?? 0);
  return text;
}

function expand(text: string): number[] | undefined {
  if (!URL.canParse(`https://[${text}]/`)) return undefined;
  const [before = "", after] = new URL(`https://[${text}]/`).hostname.slice(1, -1).split("::");
  const left = before === "" ? [] : before.split(":");
  const right = after === undefined || after === "" ? [] : after.split(":");
  const middle = after === undefined ? [] : Array<string>(8 - left.length - right.length).fill("0");
  return [...left, ...middle, ...right].map((part) => Number.parseInt(part, 16));
}

const refused = (why: string): SkepError => new SkepError("address_refused", `The agent's address is refused: ${why}.`);
