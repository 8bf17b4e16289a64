/** `skep-agent enrol NAME.skep | - | <one-liner>`: redeems a bundle and says what to do next. */
import { readFile, stat } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { SkepError, toIso } from "@skep/core";
import { MAX_BUNDLE_BYTES, certFacts, parseBundle } from "@skep/pki";
import { createLogger, systemClock, systemRng } from "@skep/runtime";
import type { AgentConfig } from "./config.ts";
import { enrolWithBundle } from "./identity/enrol.ts";

export interface Enrolled {
  readonly host_id: string;
  readonly name: string;
  readonly agent_dir: string;
  readonly not_after: string;
}

/** Throws SkepError with what to do about it. */
export async function runEnrol(source: string | undefined, config: AgentConfig): Promise<Enrolled> {
  const clock = systemClock();
  const bundle = parseBundle(await readBundle(source));
  const logger = createLogger({ level: config.logLevel, name: "skep-agent", destination: "stderr" });
  const identity = await enrolWithBundle({ bundle, agentDir: config.agentDir, clock, rng: systemRng(), logger });
  return { host_id: identity.hostId, name: identity.name, agent_dir: config.agentDir, not_after: toIso(certFacts(identity.certPem).notAfter) };
}

/** A file, `-` for stdin, or the pasted one-liner: the bundle's JSON in base64url. */
async function readBundle(source: string | undefined): Promise<string> {
  if (source === undefined) throw new SkepError("invalid_request", "Say which bundle: skep agent enrol NAME.skep (a file, - for stdin, or the pasted one-liner).");
  if (source === "-") return text(process.stdin);
  const found = await stat(source).catch(() => undefined);
  if (found?.isFile() === true) {
    if (found.size > MAX_BUNDLE_BYTES) throw new SkepError("payload_too_large", `A bundle has at most ${MAX_BUNDLE_BYTES} bytes.`);
    return readFile(source, "utf8");
  }
  const decoded = /^[A-Za-z0-9_-]+={0,2}$/.test(source) ? Buffer.from(source, "base64url").toString("utf8") : "";
  if (!decoded.startsWith("{")) throw new SkepError("not_found", "That is neither a file nor a pasted bundle.");
  return decoded;
}
