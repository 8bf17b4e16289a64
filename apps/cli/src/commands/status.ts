/** `skep status`: the fleet on one screen, what needs attention first. With --watch it is shown again as it changes. */
import { Option, type Command } from "commander";
import { instant, type Instant } from "@skep/core";
import { deploymentDetail, deploymentList, fleetHealth, hostList, lifecycleList, placementList } from "@skep/protocol";
import type { Api } from "../api/client.ts";
import { listAll } from "../api/pages.ts";
import { usageError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { duration, ref } from "../options.ts";
import { runLive } from "../screen/live.ts";
import { printChanges } from "../screen/print-changes.ts";
import type { Act } from "../session.ts";
import { toned, type Line } from "../text/line.ts";
import { decideAttention, type Attention } from "../views/attention.ts";
import { deploymentLines, deploymentTable } from "../views/deployments.ts";
import { hostsLines, openLine } from "../views/fleet.ts";
import { placementTable } from "../views/placements.ts";

interface Flags {
  readonly host?: string;
  readonly exitCode?: boolean;
  readonly watch?: boolean;
  readonly interval: number;
}

/** What one look came to. */
interface Look {
  readonly at: Instant;
  readonly json: unknown;
  /** Something needs attention. */
  readonly off: boolean;
  /** Ages are counted up to `now`. */
  readonly lines: (columns: number | undefined, now: Instant) => readonly Line[];
  /** Beside the result, where there is nothing to show. */
  readonly note?: string;
}

export function registerStatus(program: Command, act: Act): void {
  program.command("status").description("the fleet, what needs attention first; or one deployment").argument("[deployment]", "name or id")
    .option("--host <host>", "what is placed on this host", ref)
    .option("--exit-code", "exit 9 when something needs attention")
    .option("--watch", "redraw it; into a pipe, print it again when it has changed")
    .addOption(new Option("--interval <duration>", "with --watch: between two looks").default(2, "2s").argParser(duration(1, 3_600)))
    .action(act(async (session, name: string | undefined, flags: Flags): Promise<ExitCode> => {
      const deployment = name === undefined ? undefined : ref(name);
      const look = (api: Api): Promise<Look> => (deployment !== undefined ? one(api, deployment) : flags.host !== undefined ? placed(api, flags.host) : fleet(api));
      if (flags.watch === true) {
        if (flags.exitCode === true) throw usageError("--exit-code judges one look and --watch has no last one.", "Leave one of them out.");
        const options = { intervalMs: flags.interval * 1_000, load: look };
        return session.openScreen === undefined
          ? printChanges(session, { ...options, lines: shown })
          : runLive(session, session.openScreen, { ...options, title: "skep status", keys: () => ["q quit"], view: (seen, columns) => ({ head: [], body: shown(seen, columns, seen.at) }) });
      }
      const { json, terminal } = session;
      const seen = await look(session.api);
      if (json) terminal.json(seen.json);
      else {
        terminal.show(...seen.lines(terminal.columns, seen.at));
        if (seen.note !== undefined) terminal.say(seen.note);
      }
      return flags.exitCode === true && seen.off ? EXIT.degraded : EXIT.ok;
    }));
}

const shown = ({ lines, note }: Look, columns: number | undefined, now: Instant): readonly Line[] => [...lines(columns, now), ...(note === undefined ? [] : [note])];

const OFF = new Set(["degraded", "failed", "teardown_failed"]);

async function one(api: Api, deployment: string): Promise<Look> {
  const { data, raw, at } = await api.call("getDeployment", deploymentDetail, { params: { deployment } });
  return { at, json: raw, off: OFF.has(data.status), lines: (columns) => deploymentLines(data, columns) };
}

async function placed(api: Api, host: string): Promise<Look> {
  const { items, raw, at } = await listAll(api, "listPlacements", placementList, { query: { host } });
  return { at, json: raw, off: false, lines: (columns) => (items.length === 0 ? [] : placementTable(items, columns)), ...(items.length === 0 ? { note: `Nothing is placed on ${host}.` } : {}) };
}

/** The shape of `--json`: ours, and stable; what the API says is inside it unchanged. */
const SCHEMA_VERSION = 1;

async function fleet(api: Api): Promise<Look> {
  const [health, unreachable, suspect, active, lost, deployments] = await Promise.all([
    api.call("getFleetHealth", fleetHealth),
    listAll(api, "listHosts", hostList, { query: { status: "unreachable" } }),
    listAll(api, "listHosts", hostList, { query: { status: "suspect" } }),
    listAll(api, "listHosts", hostList, { query: { status: "active" } }),
    listAll(api, "listLifecycle", lifecycleList, { query: { status: "lost" } }),
    listAll(api, "listDeployments", deploymentList),
  ]);
  const attention = decideAttention({ unreachable: unreachable.items, suspect: suspect.items, active: active.items, lost: lost.items, deployments: deployments.items });
  return {
    at: instant(Math.max(health.at, deployments.at)),
    json: { schema_version: SCHEMA_VERSION, fleet: health.raw, attention, deployments: deployments.raw.items },
    off: attention.length > 0,
    lines: (columns, now) => [
      ...hostsLines(health.data),
      ...(attention.length === 0 ? [] : [toned("Needs attention", "bold"), ...attention.map(attentionLine)]),
      openLine(health.data),
      ...(deployments.items.length === 0 ? ["No deployments. Make one: skep deploy -f FILE"] : ["", ...deploymentTable(deployments.items, now, columns)]),
    ],
  };
}

const WORDS: Readonly<Record<Attention["kind"], readonly [string, string]>> = {
  hosts_unreachable: ["host unreachable", "hosts unreachable"],
  hosts_suspect: ["host suspect", "hosts suspect"],
  hosts_booting: ["host with boot trouble", "hosts with boot trouble"],
  rows_lost: ["operation lost", "operations lost"],
  deployments_failed: ["deployment failed", "deployments failed"],
  deployments_degraded: ["deployment degraded", "deployments degraded"],
};

function attentionLine({ kind, count, names, because, next }: Attention): Line {
  const rest = count > names.length ? ` and ${count - names.length} more` : "";
  return ["  ", toned(`${count} ${WORDS[kind][count === 1 ? 0 : 1]}`, kind === "hosts_unreachable" || kind === "deployments_failed" ? "bad" : "warn"), `  ${names.join(" ")}${rest}${because === "" ? "" : `  ${because}`}`, toned(`  ${next}`, "dim")];
}
