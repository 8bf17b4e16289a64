/** `skep alerts`: what fires and what to do about it. */
import { InvalidArgumentError, type Command } from "commander";
import { EVENT_SEVERITIES, isUuid, type EventSeverity } from "@skep/core";
import { alertList, alertView } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { integer, oneOf, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { alertLines } from "../views/alerts.ts";

interface Flags {
  readonly all?: boolean;
  readonly minSeverity?: EventSeverity;
  readonly host?: string;
  readonly deployment?: string;
  readonly limit?: number;
  readonly exitCode?: boolean;
}

export function registerAlerts(program: Command, act: Act): void {
  const alerts = program.command("alerts").description("what fires, newest first, each with what to do next; alerts ack ID: somebody has seen it")
    .option("--all", "those that have resolved as well")
    .option("--min-severity <severity>", `${EVENT_SEVERITIES.join(", ")}: this one and what is worse`, oneOf(EVENT_SEVERITIES))
    .option("--host <host>", "about this host", ref)
    .option("--deployment <deployment>", "about this deployment", ref)
    .option("--limit <n>", "at most that many", integer(1, 100_000))
    .option("--exit-code", "exit 9 when anything fires")
    .action(act(list));

  alerts.command("ack").description("no reminders of it until it resolves").argument("<alert>", "id", alertId)
    .action(act(async ({ api, json, terminal }, id: string) => {
      const { data, raw } = await api.call("acknowledgeAlert", alertView, { params: { id } });
      if (json) terminal.json(raw);
      else terminal.show(`${data.title}: acknowledged by ${data.acknowledged_by ?? "?"}; no reminders until it resolves`);
    }));
}

function alertId(text: string): string {
  if (!isUuid(text)) throw new InvalidArgumentError("Give the id that `skep alerts` shows below the alert.");
  return text;
}

async function list({ api, json, terminal }: Session, flags: Flags): Promise<ExitCode> {
  const query = { state: flags.all === true ? "all" : undefined, min_severity: flags.minSeverity, host: flags.host, deployment: flags.deployment };
  const { items, raw, at } = await listAll(api, "listAlerts", alertList, { query }, flags.limit);
  if (json) terminal.json(raw);
  else if (items.length === 0) terminal.say(flags.all === true ? "No alerts." : "Nothing fires.");
  else terminal.show(...items.flatMap((alert, index) => [...(index > 0 ? [""] : []), ...alertLines(alert, at)]));
  return flags.exitCode === true && items.some((alert) => alert.state === "firing") ? EXIT.degraded : EXIT.ok;
}
