/** `skep host …`: the fleet's machines. */
import type { Command } from "commander";
import { HOST_STATUSES, type HostStatus } from "@skep/core";
import { breakerReply, checkReply, hostHealth, hostList, hostView } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { collect, integer, oneOf, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatDuration } from "../text/time.ts";
import { healthLines, hostFacts, hostTable } from "../views/hosts.ts";
import { registerDrain } from "./drain.ts";
import { registerHostBundles } from "./host-bundles.ts";

export function registerHost(program: Command, act: Act): void {
  const host = program.command("host").description("the fleet's hosts: add, ls, show, check, bundle, rotate, cordon, uncordon, breaker-reset, drain, rm");
  registerHostBundles(host, act);
  registerDrain(host, act);

  host.command("ls").description("list hosts")
    .option("--status <status>", HOST_STATUSES.join(", "), oneOf(HOST_STATUSES))
    .option("--label <k=v>", "only with this label; may be repeated", collect)
    .option("--limit <n>", "at most that many", integer(1, 1_000_000))
    .action(act(async ({ api, json, terminal }, flags: { status?: HostStatus; label?: string[]; limit?: number }) => {
      const { items, raw, at } = await listAll(api, "listHosts", hostList, { query: { status: flags.status, label: flags.label } }, flags.limit);
      if (json) terminal.json(raw);
      else if (items.length === 0) terminal.say("No hosts. Add one: skep host add NAME");
      else terminal.show(...hostTable(items, at, terminal.columns));
    }));

  host.command("show").description("one host and how it is").argument("<host>", "name or id", ref)
    .action(act(async ({ api, json, terminal }, name: string) => {
      const { data, raw } = await api.call("getHost", hostView, { params: { host: name } });
      if (json) return terminal.json(raw);
      const health = await api.call("getHostHealth", hostHealth, { params: { host: name } });
      terminal.show(...hostFacts(data), "", ...healthLines(health.data));
    }));

  host.command("check").description("ask hosts directly, now; changes nothing").argument("[hosts...]", "names or ids; all of them without")
    .action(act(check));

  for (const [verb, schedulable, words] of [["cordon", false, "takes no new work"], ["uncordon", true, "takes new work again"]] as const) {
    host.command(verb).description(schedulable ? "give it new work again" : "give it no new work; what runs there stays").argument("<host>", "name or id", ref)
      .action(act(async ({ api, json, terminal }, name: string) => {
        const { data, raw } = await api.call("updateHost", hostView, { params: { host: name }, body: { schedulable } });
        if (json) terminal.json(raw);
        else terminal.show(`${data.name} ${words}`);
      }));
  }

  host.command("breaker-reset").description("make every master call it again at once, whatever its last calls came to").argument("<host>", "name or id", ref)
    .action(act(async ({ api, json, terminal }, name: string) => {
      const { data, raw } = await api.call("resetBreaker", breakerReply, { params: { host: name } });
      if (json) terminal.json(raw);
      else terminal.show(`the circuit to ${data.name} is ${data.breaker.state}`);
    }));

  host.command("rotate").description("tell its agent to make a new key and certificate").argument("<host>", "name or id", ref)
    .action(act(async ({ api, json, terminal }, name: string) => {
      const { data, raw } = await api.call("rotateHost", hostView, { params: { host: name } });
      if (json) terminal.json(raw);
      else terminal.show(`${data.name} is told with its next beat; both certificates are good until it has the new one`);
    }));

  host.command("rm").description("decommission it; its certificate ends with the next request").argument("<host>", "name or id", ref)
    .option("--force", "although it has placements: their open rows end as host_lost")
    .action(act(async ({ api, json, terminal }, name: string, flags: { force?: boolean }) => {
      const { data, raw } = await api.call("deleteHost", hostView, { params: { host: name }, query: { force: flags.force === true } });
      if (json) terminal.json(raw);
      else terminal.show(`${data.name} is decommissioned`);
    }));
}

async function check({ api, json, terminal }: Session, hosts: readonly string[]): Promise<ExitCode> {
  const { data, raw } = await api.call("checkHosts", checkReply, { body: hosts.length === 0 ? {} : { hosts } });
  const rows: Line[] = renderTable(data.items, [
    { title: "HOST", cell: (item) => item.name },
    { title: "ANSWER", cell: (item) => (item.ok ? toned("ok", "good") : toned("none", "bad")) },
    { title: "AFTER", cell: (item) => formatDuration(item.ms), align: "right" },
    { title: "ERROR", cell: (item) => item.error ?? "", gives: true },
  ], terminal.columns);
  if (json) terminal.json(raw);
  else if (data.items.length === 0) terminal.say("No enrolled hosts to ask.");
  else terminal.show(...rows);
  return data.items.every((item) => item.ok) ? EXIT.ok : EXIT.degraded;
}
