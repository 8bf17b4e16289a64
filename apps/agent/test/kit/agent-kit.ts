/** A whole agent in this process: real TLS, a real journal file, a scripted driver. */
import { join } from "node:path";
import { NO_ALLOWANCES, PRODUCTION_POLICY, type Allowances, type BootStage } from "@skep/core";
import { clientTls, saveIdentity } from "@skep/pki";
import { createLogger, systemClock, systemRng } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { Agent as HttpAgent, type buildConnector } from "undici";
import type { RebootMark } from "../../src/boot/reboot-mark.ts";
import { createAgent, type Agent } from "../../src/create-agent.ts";
import { createFileJournal } from "../../src/journal/file-journal.ts";
import { realPath } from "../../src/real-path.ts";
import { TRUST_DOMAIN, FakeMaster, HOST_ID, hostLeaf, identityOf, type Leaf } from "./fake-master.ts";
import { ScriptedDriver } from "./scripted-driver.ts";

export interface AgentRig {
  readonly agent: Agent;
  readonly driver: ScriptedDriver;
  readonly dir: string;
  /** Log lines of level warn and above. */
  readonly log: { level: string; msg: string }[];
}

const cleanups: (() => Promise<unknown>)[] = [];
export const cleanup = async (): Promise<void> => {
  for (const one of cleanups.splice(0).reverse()) await one();
};

export async function startMaster(options: ConstructorParameters<typeof FakeMaster>[0] = {}): Promise<FakeMaster> {
  const master = await new FakeMaster(options).start();
  cleanups.push(() => master.stop());
  return master;
}

export async function startAgent(master: FakeMaster, options: { dir?: string; leaf?: Leaf; urls?: string[]; enrolled?: boolean; driver?: ScriptedDriver; journalFault?: () => string | undefined; allowed?: () => Allowances; boot?: readonly BootStage[]; rebootMark?: RebootMark; localPort?: number } = {}): Promise<AgentRig> {
  const { dir = tempDir("agent"), driver = new ScriptedDriver() } = options;
  const agentDir = join(dir, "identity");
  if (options.enrolled !== false) await saveIdentity(agentDir, identityOf(master.authority, options.leaf ?? hostLeaf(master.authority), options.urls ?? [master.url]));
  const log: AgentRig["log"] = [];
  const logger = createLogger({ level: "warn", name: "agent", destination: { write: (line: string) => void log.push(JSON.parse(line) as { level: string; msg: string }) } });
  const file = createFileJournal({ path: join(dir, "journal"), logger });
  // The real journal plus a fault: what the disk would say.
  const journal: typeof file = {
    ...file,
    append: async (records, how) => {
      const code = options.journalFault?.();
      if (code !== undefined) throw Object.assign(new Error(code), { code });
      await file.append(records, how);
    },
  };
  const agent = createAgent({
    agentDir, journal, drivers: [driver], clock: systemClock(), rng: systemRng(), logger, policy: PRODUCTION_POLICY, hostBootId: "host-boot",
    listen: { host: "127.0.0.1", port: 0 }, localPort: options.localPort ?? 0, agentUrl: undefined, resources: async () => ({}), allowed: options.allowed ?? (() => NO_ALLOWANCES), realpath: realPath,
    boot: options.boot ?? [], rebootMark: options.rebootMark ?? { rebooted: false, settle: () => {} },
  });
  cleanups.push(async () => {
    await agent.stop({ workloads: false });
    await journal.close();
  });
  await agent.start();
  return { agent, driver, dir, log };
}

/** A client as a master has one. */
export function masterClient(leaf: Leaf): HttpAgent {
  const client = new HttpAgent({ connect: { ...clientTls({ trustDomain: TRUST_DOMAIN, ...leaf, expect: { role: "host", hostId: HOST_ID } }), timeout: 5_000 } as buildConnector.BuildOptions });
  cleanups.push(() => client.destroy());
  return client;
}
