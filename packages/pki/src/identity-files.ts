/**
 * The agent's identity on disk. Certificate, key and the names that go with them switch together or not at all:
 *
 *     DIR/current -> identity-<pid>-<random>      replaced by rename
 *     DIR/identity-…/{agent.json, ca.pem, key.pem, cert.pem}
 *
 * A version is written and synced whole before `current` points at it and is never changed afterwards, so a crash at any
 * step leaves the old identity or the new one. A key beside another key's certificate would lock the host out.
 */
import { createPrivateKey, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, readlink, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { isName, isUuid, SkepError, type HostId } from "@skep/core";
import { fingerprintOf, readCert } from "./cert-facts.ts";
import { makePrivateDir, syncDir, writePrivateFile } from "./files.ts";
import { identityOf } from "./identity.ts";

export const SYSTEM_AGENT_DIR = "/etc/skep/agent";
const CURRENT = "current";
const VERSION = /^identity-(\d+)-[0-9a-f]{12}$/;
/** A reader that loses to a writer finds the next version at once; more losses than this are not a race. */
const READ_ATTEMPTS = 5;

export interface AgentIdentity {
  readonly hostId: HostId;
  readonly name: string;
  readonly masterUrls: readonly string[];
  readonly enrolUrls: readonly string[];
  readonly trustDomain: string;
  /** SHA-256 of the CA certificate's DER. */
  readonly caSha256: string;
  readonly caPem: string;
  readonly certPem: string;
  /** A secret. */
  readonly keyPem: string;
}

/** Where the agent's identity lives: as told, else /etc/skep/agent when it exists, else ~/.skep/agent. */
export function resolveAgentDir(from: { readonly configured: string | undefined; readonly home: string; readonly systemDir?: string }): string {
  const systemDir = from.systemDir ?? SYSTEM_AGENT_DIR;
  if (from.configured !== undefined && from.configured !== "") return from.configured;
  return existsSync(systemDir) ? systemDir : join(from.home, ".skep", "agent");
}

/** Replaces the identity in `dir`. Throws `cert_mismatch`, before anything is written, when its parts do not fit together. */
export async function saveIdentity(dir: string, identity: AgentIdentity): Promise<void> {
  checkIdentity(dir, identity);
  for (const step of planSave(dir, identity)) await step.act();
}

/** The identity in `dir`, undefined when there is none. Throws `cert_mismatch` when there is one and it is damaged. */
export async function loadIdentity(dir: string): Promise<AgentIdentity | undefined> {
  for (let left = READ_ATTEMPTS; ; left--) {
    const version = await currentVersion(dir);
    if (version === undefined) return undefined;
    try {
      const identity = parseIdentity(dir, await readVersion(join(dir, version)));
      checkIdentity(dir, identity);
      return identity;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      if (left <= 1 || (await currentVersion(dir)) === version) throw damaged(dir, "a file is missing");
    }
  }
}

/** Saving as a list of steps, so that a test can stop between any two of them. */
export function planSave(dir: string, identity: AgentIdentity): { readonly what: string; readonly act: () => Promise<void> }[] {
  const version = `identity-${process.pid}-${randomBytes(6).toString("hex")}`;
  const versionDir = join(dir, version);
  const link = join(dir, `.${version}.link`);
  const write = (name: string, text: string) => ({ what: `write ${name}`, act: () => writePrivateFile(join(versionDir, name), text) });
  let previous: string | undefined;
  return [
    { what: "make the version's directory", act: () => makePrivateDir(versionDir) },
    write("agent.json", agentJson(identity)),
    write("ca.pem", identity.caPem),
    write("key.pem", identity.keyPem),
    write("cert.pem", identity.certPem),
    { what: "sync the directory", act: () => syncDir(dir) },
    { what: "make the link", act: () => symlink(version, link) },
    {
      what: "switch",
      act: async () => {
        previous = await currentVersion(dir);
        await rename(link, join(dir, CURRENT));
      },
    },
    { what: "sync the switch", act: () => syncDir(dir) },
    { what: "remove old versions", act: () => removeOld(dir, previous) },
  ];
}

const agentJson = (identity: AgentIdentity): string =>
  `${JSON.stringify({ host_id: identity.hostId, name: identity.name, master_urls: identity.masterUrls, enrol_urls: identity.enrolUrls, trust_domain: identity.trustDomain, ca_sha256: identity.caSha256 }, null, 2)}\n`;

/** The replaced version and what crashed writers left. A version whose writer lives may be about to become current. */
async function removeOld(dir: string, previous: string | undefined): Promise<void> {
  const current = await currentVersion(dir);
  for (const entry of await readdir(dir)) {
    const version = /^\.(.+)\.link$/.exec(entry)?.[1] ?? entry;
    const pid = VERSION.exec(version)?.[1];
    if (pid === undefined || entry === current || version === current) continue;
    if (version === previous || !isAlive(Number(pid))) await rm(join(dir, entry), { recursive: true, force: true });
  }
}

async function currentVersion(dir: string): Promise<string | undefined> {
  try {
    const target = await readlink(join(dir, CURRENT));
    if (!VERSION.test(target)) throw damaged(dir, "`current` does not point at a version");
    return target;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") return undefined;
    if (code === "EINVAL") throw damaged(dir, "`current` is not a link");
    throw error;
  }
}

async function readVersion(path: string): Promise<Record<"agentJson" | "caPem" | "keyPem" | "certPem", string>> {
  const read = (name: string): Promise<string> => readFile(join(path, name), "utf8");
  return { agentJson: await read("agent.json"), caPem: await read("ca.pem"), keyPem: await read("key.pem"), certPem: await read("cert.pem") };
}

function parseIdentity(dir: string, files: Awaited<ReturnType<typeof readVersion>>): AgentIdentity {
  let agent: Record<string, unknown>;
  try {
    agent = Object(JSON.parse(files.agentJson)) as Record<string, unknown>;
  } catch {
    throw damaged(dir, "agent.json is not valid JSON");
  }
  const text = (name: string): string => (typeof agent[name] === "string" ? agent[name] : "");
  const list = (name: string): string[] => (Array.isArray(agent[name]) ? agent[name].map(String) : []);
  return {
    hostId: text("host_id") as HostId, name: text("name"), masterUrls: list("master_urls"), enrolUrls: list("enrol_urls"),
    trustDomain: text("trust_domain"), caSha256: text("ca_sha256"), caPem: files.caPem, certPem: files.certPem, keyPem: files.keyPem,
  };
}

function checkIdentity(dir: string, identity: AgentIdentity): void {
  if (!isUuid(identity.hostId) || !isName(identity.name)) throw damaged(dir, "agent.json has no host id or name");
  if (identity.masterUrls.length === 0 || ![...identity.masterUrls, ...identity.enrolUrls].every((url) => URL.canParse(url))) throw damaged(dir, "agent.json has no usable master_urls");
  const why = mismatchOf(identity);
  if (why !== undefined) throw damaged(dir, why);
}

function mismatchOf(identity: AgentIdentity): string | undefined {
  try {
    if (fingerprintOf(identity.caPem) !== identity.caSha256) return "ca.pem is not the pinned CA";
    const cert = readCert(identity.certPem);
    if (!cert.checkPrivateKey(createPrivateKey(identity.keyPem))) return "key.pem does not belong to cert.pem";
    if (!cert.verify(readCert(identity.caPem).publicKey)) return "cert.pem is not signed by ca.pem";
    const { identity: spoken } = identityOf(cert, identity.trustDomain);
    return spoken?.role === "host" && spoken.hostId === identity.hostId ? undefined : "cert.pem is not this host's";
  } catch {
    return "a PEM file cannot be read";
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const damaged = (dir: string, why: string): SkepError => new SkepError("cert_mismatch", `The identity in ${dir} cannot be used: ${why}. Enrol this host again with a new bundle: \`skep host bundle\`, then \`skep agent enrol\`.`);
