/** `skep audit`: who did what, newest first. */
import { Option, type Command } from "commander";
import { auditList, type AuditJson } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { integer } from "../options.ts";
import type { Act } from "../session.ts";
import { toned } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatTime } from "../text/time.ts";

export function registerAudit(program: Command, act: Act): void {
  program.command("audit").description("the audit log, newest first (role admin)")
    .option("--action <prefix>", "for example exec or token.create")
    .option("--actor <actor>", "for example token:ID")
    .addOption(new Option("--limit <n>", "at most that many").default(50).argParser(integer(1, 100_000)))
    .action(act(async ({ api, json, terminal }, flags: { action?: string; actor?: string; limit: number }) => {
      const { items, raw } = await listAll(api, "listAudit", auditList, { query: { action: flags.action, actor: flags.actor } }, flags.limit);
      if (json) return terminal.json(raw);
      terminal.show(...renderTable(items, [
        { title: "AT", cell: (item) => formatTime(item.at) },
        { title: "ACTION", cell: (item) => item.action },
        { title: "OUTCOME", cell: (item) => (item.outcome === "denied" ? toned(item.outcome, "warn") : item.outcome) },
        { title: "ACTOR", cell: (item) => item.actor, gives: true },
        { title: "SUBJECT", cell: (item) => item.subject, gives: true },
        { title: "DETAIL", cell: factsOf, gives: true },
      ], terminal.columns));
    }));
}

const factsOf = ({ detail }: AuditJson): string => Object.entries(detail ?? {}).map(([name, value]) => `${name}=${String(value)}`).join(" ");
