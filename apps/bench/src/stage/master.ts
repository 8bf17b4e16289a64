/** A real master: the product's program, its own process, real TLS and the database it is given. Settings are production's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openOrCreateAuthority, type Authority } from "@skep/pki";
import { startProgram } from "@skep/testkit";

export const APPS = fileURLToPath(new URL("../../..", import.meta.url));
/** A database of a million rows is checked and, at the first start, migrated. */
const READY_TIMEOUT_MS = 60_000;

export interface Master {
  readonly pid: number;
  readonly apiUrl: string;
  readonly swarmPort: number;
  /** An admin's. */
  readonly token: string;
  stop(): Promise<void>;
}

export interface MasterWish {
  readonly stateDir: string;
  readonly databaseUrl: string;
  readonly authority: Authority;
  readonly heartbeatIntervalMs?: number;
  readonly profileDir: string | undefined;
  /** Settings that the measurement is about. */
  readonly env?: Readonly<Record<string, string>>;
}

export async function startMaster(wish: MasterWish): Promise<Master> {
  await openOrCreateAuthority(join(wish.stateDir, "ca"), () => wish.authority);
  const profiling = wish.profileDir === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", wish.profileDir];
  const program = startProgram([...profiling, join(APPS, "master/bin/skep-master.js"), "--json"], {
    env: {
      DATABASE_URL: wish.databaseUrl, SKEP_STATE_DIR: wish.stateDir, SKEP_TRUST_DOMAIN: wish.authority.trustDomain, SKEP_ALLOW_LOOPBACK_AGENTS: "true", SKEP_ADVERTISE: "127.0.0.1",
      SKEP_SWARM_LISTEN: "127.0.0.1", SKEP_API_PORT: "0", SKEP_SWARM_PORT: "0", SKEP_ENROL_PORT: "0",
      ...wish.env,
      ...(wish.heartbeatIntervalMs === undefined ? {} : { SKEP_HEARTBEAT_INTERVAL_MS: String(wish.heartbeatIntervalMs) }),
    },
  });
  const [line] = await program.output(/^\{.*\}$/m, READY_TIMEOUT_MS);
  const ready = JSON.parse(line) as { readonly api_url: string; readonly swarm_url: string };
  return {
    pid: program.pid,
    apiUrl: ready.api_url,
    swarmPort: Number(new URL(ready.swarm_url).port),
    token: readToken(wish.stateDir),
    async stop() {
      program.kill("SIGTERM");
      await program.exited;
    },
  };
}

/** Absent where another master of the same database made it: an empty one is never used. */
function readToken(stateDir: string): string {
  try {
    return readFileSync(join(stateDir, "admin.token"), "utf8").trim();
  } catch {
    return "";
  }
}
