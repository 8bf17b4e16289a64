/**
 * A local agent belongs to one database: its journal and its workloads are of that ledger. `--database-url` may bring
 * another, and later the first one back. Invariant: an agent never speaks to a ledger with the memory of another; what
 * belongs elsewhere is stopped and kept aside, and found again when its own database returns.
 */
import { existsSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { loadIdentity } from "@skep/pki";
import { hostView } from "@skep/protocol";
import type { HostJson } from "@skep/protocol";
import type { Clock, Logger } from "@skep/core";
import { ApiRefusal } from "./api.ts";
import type { Api } from "./api.ts";
import type { Layout } from "./layout.ts";
import { endLeftovers } from "./leftovers.ts";

export interface MatchDeps {
  readonly layout: Layout;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly say: (line: string) => void;
}

export const isEnrolled = (layout: Layout, name: string): boolean => existsSync(join(layout.identity(name), "current"));

/** Afterwards the agent's directory is that of the host the database knows by this name, or there is none. */
export async function matchDatabase(api: Api, name: string, deps: MatchDeps): Promise<void> {
  const { layout, clock, logger, say } = deps;
  const host = await findHost(api, name);
  if (isEnrolled(layout, name)) {
    if (host !== undefined && (await hostIdIn(layout, name)) === host.id) return;
    const stopped = await endLeftovers(layout, clock, name);
    const kept = `${keptPrefix(name)}${clock.now()}`;
    renameSync(join(layout.agents, name), join(layout.agents, kept));
    logger.warn({ name, kept, stopped }, "the agent here is not a host of this database and was set aside");
    say(`! ${name}     was a host of another database; its files are kept in ${join(layout.agents, kept)}`);
  }
  for (const kept of host === undefined ? [] : readdirSync(layout.agents).filter((entry) => entry.startsWith(keptPrefix(name)))) {
    if ((await hostIdIn(layout, kept)) !== host?.id) continue;
    renameSync(join(layout.agents, kept), join(layout.agents, name));
    say(`· ${name}     is back: this is its database`);
    return;
  }
}

const keptPrefix = (name: string): string => `${name}.of-another-database-`;

/** undefined also for one that was decommissioned: its certificate is good for nothing any more. */
async function findHost(api: Api, name: string): Promise<HostJson | undefined> {
  try {
    const host = hostView.parse(await api.get(`/v1/hosts/${name}`));
    return host.status === "decommissioned" ? undefined : host;
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 404) return undefined;
    throw error;
  }
}

/** A damaged identity names nobody: the agent is then enrolled anew. */
const hostIdIn = (layout: Layout, name: string): Promise<string | undefined> => loadIdentity(layout.identity(name)).then((identity) => identity?.hostId, () => undefined);
