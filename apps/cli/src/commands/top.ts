/** `skep top`: the fleet's hosts, redrawn; into a pipe, block after block. */
import { Option, type Command } from "commander";
import { HOST_HEALTH_ORDERS, fleetHealth, hostHealthList, type HostHealthJson } from "@skep/protocol";
import { instant, type Instant } from "@skep/core";
import type { Api } from "../api/client.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { collect, duration, integer, oneOf } from "../options.ts";
import { clockTime, mayPass, runLive } from "../screen/live.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";
import { hostsLines, openLine, type FleetHealthJson } from "../views/fleet.ts";
import { topTable } from "../views/top.ts";

type Sort = (typeof HOST_HEALTH_ORDERS)[number];

interface Flags {
  readonly interval: number;
  readonly count?: number;
  readonly sort: Sort;
  readonly label?: string[];
}

/** What one screen scrolls through. More makes every look slower for hosts that nobody scrolls down to. */
const HOSTS = 500;
/** The shape of `--json`: ours, and stable; what the API says is inside it unchanged. */
const SCHEMA_VERSION = 1;
const ORDER_WORDS: Readonly<Record<Sort, string>> = { attention: "worst first", name: "by name" };

export function registerTop(program: Command, act: Act): void {
  program.command("top").description("the fleet's hosts as they are now, redrawn; into a pipe, one block per interval")
    .addOption(new Option("--interval <duration>", "between two looks").default(2, "2s").argParser(duration(1, 3_600)))
    .option("--count <n>", "that many blocks, one after the other, and end; 1 where nobody watches", integer(1, 1_000_000))
    .addOption(new Option("--sort <order>", HOST_HEALTH_ORDERS.join(", ")).default("attention" satisfies Sort).argParser(oneOf(HOST_HEALTH_ORDERS)))
    .option("--label <k=v>", "only with this label; may be repeated", collect)
    .action(act((session, flags: Flags) => (session.openScreen === undefined || flags.count !== undefined ? printBlocks(session, flags) : watch(session, session.openScreen, flags))));
}

interface Seen {
  readonly at: Instant;
  readonly fleet: FleetHealthJson;
  readonly hosts: readonly HostHealthJson[];
  /** There are more than these. */
  readonly more: boolean;
  readonly raw: { readonly fleet: unknown; readonly hosts: readonly unknown[] };
}

async function look(api: Api, { sort, label }: { readonly sort: Sort; readonly label?: string[] | undefined }): Promise<Seen> {
  const [fleet, hosts] = await Promise.all([api.call("getFleetHealth", fleetHealth), api.call("listHostHealth", hostHealthList, { query: { sort, limit: HOSTS, label } })]);
  const { items, next_cursor } = hosts.data;
  return { at: instant(Math.max(fleet.at, hosts.at)), fleet: fleet.data, hosts: items, more: next_cursor !== null, raw: { fleet: fleet.raw, hosts: (hosts.raw as { items: unknown[] }).items } };
}

const headLines = ({ fleet }: Seen): Line[] => [...hostsLines(fleet), openLine(fleet)];
const moreLines = ({ more, hosts }: Seen): Line[] => (more ? [toned(`the first ${hosts.length} only; all of them: skep host ls`, "dim")] : []);

function watch(session: Session, openScreen: NonNullable<Session["openScreen"]>, flags: Flags): Promise<ExitCode> {
  let { sort } = flags;
  return runLive<Seen>(session, openScreen, {
    title: "skep top",
    intervalMs: flags.interval * 1_000,
    keys: () => ["q quit", `s sort (${ORDER_WORDS[sort]})`],
    load: (api) => look(api, { sort, label: flags.label }),
    view: (seen, columns) => {
      const [header = "", ...rows] = seen.hosts.length === 0 ? [] : topTable(seen.hosts, columns);
      return { head: [...headLines(seen), "", header], body: [...rows, ...moreLines(seen)] };
    },
    onKey: (char) => {
      if (char !== "s") return false;
      sort = sort === "attention" ? "name" : "attention";
      return true;
    },
  });
}

/** One block per interval, whether or not there was an answer; the exit code is the last block's. */
async function printBlocks({ api, clock, json, signal, terminal }: Session, { interval, count = 1, sort, label }: Flags): Promise<ExitCode> {
  for (let block = 1; ; block++) {
    try {
      const seen = await look(api, { sort, label });
      if (json) terminal.json({ schema_version: SCHEMA_VERSION, at: new Date(seen.at).toISOString(), ...seen.raw });
      else terminal.show(...(block === 1 ? [] : [""]), `skep top  ${clockTime(seen.at)}  ${api.transport.url}`, ...headLines(seen), ...(seen.hosts.length === 0 ? [] : ["", ...topTable(seen.hosts, terminal.columns)]), ...moreLines(seen));
    } catch (error) {
      // The last failure is the command's; before that a person is told and the next block is tried.
      if (!mayPass(error) || block >= count) throw error;
      terminal.say(`no answer from ${api.transport.url}: ${error.facts.detail} Asking again in ${interval}s.`);
    }
    if (block >= count || terminal.gone.aborted) return EXIT.ok;
    await clock.sleep(interval * 1_000, AbortSignal.any([signal, terminal.gone]));
    if (signal.aborted) return EXIT.detached;
    if (terminal.gone.aborted) return EXIT.ok;
  }
}
