/** `skep service`: deployments as their callers see them. */
import type { Command } from "commander";
import { SERVICE_STRATEGIES, type ServiceStrategy } from "@skep/core";
import { resolvedService, serviceDetail, serviceList } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { EXIT } from "../exit-codes.ts";
import { collect, integer, oneOf, ref } from "../options.ts";
import type { Act } from "../session.ts";
import { resolvedTable, serviceLines, serviceTable } from "../views/services.ts";

interface ResolveFlags {
  readonly strategy?: ServiceStrategy;
  readonly component?: string;
  readonly port?: string;
  readonly label?: string[];
}

export function registerService(program: Command, act: Act): void {
  const service = program.command("service").description("who may be called, now: ls, show, resolve");

  service.command("ls").description("services, and how many of their endpoints are healthy")
    .option("--limit <n>", "at most that many", integer(1, 1_000_000))
    .action(act(async ({ api, json, terminal }, flags: { limit?: number }) => {
      const { items, raw } = await listAll(api, "listServices", serviceList, {}, flags.limit);
      if (json) terminal.json(raw);
      else if (items.length === 0) terminal.say("No deployment publishes a port.");
      else terminal.show(...serviceTable(items, terminal.columns));
    }));

  service.command("show").description("every endpoint of a service, and what the unhealthy ones wait for").argument("<service>", "name or id", ref)
    .option("--exit-code", "exit 9 when none is healthy")
    .action(act(async ({ api, json, terminal }, name: string, flags: { exitCode?: boolean }) => {
      const { data, raw } = await api.call("getService", serviceDetail, { params: { service: name } });
      if (json) terminal.json(raw);
      else terminal.show(...serviceLines(data, terminal.columns));
      return flags.exitCode === true && data.healthy === 0 ? EXIT.degraded : EXIT.ok;
    }));

  service.command("resolve").description("where its callers go: healthy endpoints in order, or its fallbacks'; exit 9 when there is none").argument("<service>", "name or id", ref)
    .option("--strategy <strategy>", `the order: ${SERVICE_STRATEGIES.join(", ")}`, oneOf(SERVICE_STRATEGIES))
    .option("--component <name>", "only of this component", ref)
    .option("--port <name>", "only the port of this name", ref)
    .option("--label <k=v>", "only on hosts with this label; may be repeated", collect)
    .action(act(async ({ api, json, terminal }, name: string, { strategy, component, port, label }: ResolveFlags) => {
      const { data, raw } = await api.call("resolveService", resolvedService, { params: { service: name }, query: { strategy, component, port, label } });
      if (json) return terminal.json(raw);
      if (data.fallback !== null) terminal.say(`Nothing of ${data.service} is healthy: its fallback ${data.fallback} answers. Why: skep service show ${data.service}`);
      terminal.show(...resolvedTable(data, terminal.columns));
    }));
}
