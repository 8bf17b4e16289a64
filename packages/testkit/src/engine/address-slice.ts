/**
 * Addresses for one test engine's networks: a /20 of 10.64.0.0/10 that nobody else uses. Several test runs share the
 * machine, so a slice is claimed by making a directory, which only one can; a dead run's claim is taken over.
 */
import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive } from "../temp-dir.ts";

const CLAIMS = join(tmpdir(), "skep-engine-addresses");

export interface AddressSlice {
  /** "10.64.16.0/20" */
  readonly cidr: string;
  release(): void;
}

export function claimAddresses(): AddressSlice {
  mkdirSync(CLAIMS, { recursive: true });
  for (let tries = 0; tries < 200; tries++) {
    const number = randomInt(64 * 16);
    const cidr = `10.${64 + Math.floor(number / 16)}.${(number % 16) * 16}.0/20`;
    const claim = join(CLAIMS, cidr.replace("/", "-"));
    if (!take(claim)) continue;
    const release = (): void => rmSync(claim, { recursive: true, force: true });
    if (linksIn(cidr).length === 0) return { cidr, release };
    release();
  }
  throw new Error("no free addresses for a test engine were found in 10.64.0.0/10");
}

function take(claim: string): boolean {
  try {
    mkdirSync(claim);
  } catch {
    if (isAlive(ownerOf(claim))) return false;
    rmSync(claim, { recursive: true, force: true });
    return false;
  }
  writeFileSync(join(claim, "pid"), String(process.pid));
  return true;
}

/** A claim whose pid is not written yet counts as alive: its owner is just writing it. */
function ownerOf(claim: string): number {
  try {
    return Number(readFileSync(join(claim, "pid"), "utf8"));
  } catch {
    return process.pid;
  }
}

/** Names of the machine's links that have an address in `cidr`. */
export function linksIn(cidr: string): string[] {
  const links = JSON.parse(execFileSync("ip", ["-j", "-4", "address"], { encoding: "utf8" })) as { ifname?: string; addr_info?: { local: string }[] }[];
  return links.filter(({ addr_info = [] }) => addr_info.some(({ local }) => isInside(local, cidr))).flatMap(({ ifname }) => ifname ?? []);
}

function isInside(address: string, cidr: string): boolean {
  const [network = "", bits = "32"] = cidr.split("/");
  const size = 2 ** (32 - Number(bits));
  return Math.floor(numberOf(address) / size) === Math.floor(numberOf(network) / size);
}

const numberOf = (address: string): number => address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
