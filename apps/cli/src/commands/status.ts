/** `skep status`: the fleet on one screen, what needs attention first. */
import type { Command } from "commander";
import { deploymentDetail, deploymentList, fleetHealth, hostList, lifecycleList, placementList } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Bit, type Line } from "../text/line.ts";
import { decideAttention, type Attention } from "../views/attention.ts";
import { deploymentLines, deploymentTable } from "../views/deployments.ts";
import { placementTable } from "../views/placements.ts";
import { state } from "../views/tones.ts";

interface Flags {
  readonly host?: string;
  readonly exitCode?: boolean;
}

export function registerStatus(program: Command, act: Act): void {
  program.command("status").description("the fleet, what needs attention first; or one deployment").argument("[deployment]", "name or id")
    .option("--host <host>", "what is placed on this host", ref)
    .option("--exit-code", "exit 9 when something needs attention")
    .action(act(async (session, name: string | undefined, flags: Flags) => (name === undefined ? (flags.host === undefined ? fleet(session, flags) : placed(session, flags.host)) : one(session, ref(name), flags))));
}

const OFF = new Set(["degraded", "failed", "teardown_failed"]);

async function one({ api, json, terminal }: Session, deployment: string, flags: Flags): Promise<ExitCode> {
  const { data, raw } = await api.call("getDeployment", deploymentDetail, { params: { deployment } });
  if (json) terminal.json(raw);
  else terminal.show(...deploymentLines(data, terminal.columns));
  return flags.exitCode === true && OFF.has(data.status) ? EXIT.degraded : EXIT.ok;
}

async function placed({ api, json, terminal }: Session, host: string): Promise<ExitCode> {
  const { items, raw } = await listAll(api, "listPlacements", placementList, { query: { host } });
  if (json) terminal.json(raw);
  else if (items.length === 0) terminal.say(`Nothing is placed on ${host}.`);
  else terminal.show(...placementTable(items, terminal.columns));
  return EXIT.ok;
}

/** The shape of `--json`: ours, and stable; what the API says is inside it unchanged. */
const SCHEMA_VERSION = 1;

async function fleet({ api, json, terminal }: Session, flags: Flags): Promise<ExitCode> {
  const [health, unreachable, suspect, active, lost, deployments] = await Promise.all([
    api.call("getFleetHealth", fleetHealth),
    listAll(api, "listHosts", hostList, { query: { status: "unreachable" } }),
    listAll(api, "listHosts", hostList, { query: { status: "suspect" } }),
    listAll(api, "listHosts", hostList, { query: { status: "active" } }),
    listAll(api, "listLifecycle", lifecycleList, { query: { status: "lost" } }),
    listAll(api, "listDeployments", deploymentList),
  ]);
  const attention = decideAttention({ unreachable: unreachable.items, suspect: suspect.items, active: active.items, lost: lost.items, deployments: deployments.items });
  if (json) terminal.json({ schema_version: SCHEMA_VERSION, fleet: health.raw, attention, deployments: deployments.raw.items });
  else {
    terminal.show(headline(health.data.hosts), ...(health.data.warm ? [] : [toned("  the master has only begun to listen: silence proves nothing yet", "dim")]));
    if (attention.length > 0) terminal.show(toned("Needs attention", "bold"), ...attention.map(attentionLine));
    terminal.show(`Open     ${counts(health.data.open_rows) || "no operation"}`);
    if (deployments.items.length === 0) terminal.show("No deployments. Make one: skep deploy -f FILE");
    else terminal.show("", ...deploymentTable(deployments.items, deployments.at, terminal.columns));
  }
  return flags.exitCode === true && attention.length > 0 ? EXIT.degraded : EXIT.ok;
}

const counts = (of: Readonly<Record<string, number>>): string => Object.entries(of).filter(([, count]) => count > 0).map(([word, count]) => `${count} ${word}`).join(", ");

function headline(hosts: Readonly<Record<string, number>>): Line {
  const shown = Object.entries(hosts).filter(([word, count]) => count > 0 && word !== "decommissioned");
  if (shown.length === 0) return "Hosts    none. Add one: skep host add NAME";
  return ["Hosts    ", ...shown.flatMap(([word, count], index): Bit[] => [index === 0 ? "" : ", ", `${count} `, state(word)])];
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
