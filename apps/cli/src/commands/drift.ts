/** `skep drift`: what differs from what is desired, what is done about it, and what runs that nobody placed. */
import type { Command } from "commander";
import { driftReport, type DriftJson, type OrphanJson } from "@skep/protocol";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned } from "../text/line.ts";
import { driftTable, orphanTable } from "../views/drift.ts";

interface Flags {
  readonly deployment?: string;
  readonly host?: string;
  readonly exitCode?: boolean;
}

const PAGE = 500;

export function registerDrift(program: Command, act: Act): void {
  program.command("drift").description("placements that differ from what is desired, and what hosts run that nobody placed there")
    .option("--deployment <deployment>", "of this deployment", ref)
    .option("--host <host>", "on this host", ref)
    .option("--exit-code", "exit 9 when anything differs")
    .action(act(show));
}

async function show({ api, json, terminal }: Session, flags: Flags): Promise<ExitCode> {
  const items: DriftJson[] = [];
  const rawItems: unknown[] = [];
  let orphans: readonly OrphanJson[] = [];
  let rest: Record<string, unknown> = {};
  for (let cursor: string | undefined; ; ) {
    const { data, raw, at } = await api.call("listDrift", driftReport, { query: { deployment: flags.deployment, host: flags.host, limit: PAGE, cursor } });
    items.push(...data.items);
    rawItems.push(...(raw as { items: unknown[] }).items);
    if (cursor === undefined) {
      orphans = data.orphans;
      rest = raw as Record<string, unknown>;
    }
    if (data.next_cursor !== null && data.next_cursor !== cursor) {
      cursor = data.next_cursor;
      continue;
    }
    if (json) terminal.json({ ...rest, items: rawItems, next_cursor: null });
    else {
      if (items.length === 0 && orphans.length === 0) terminal.say("Nothing differs from what is desired.");
      if (items.length > 0) terminal.show(...driftTable(items, at, terminal.columns));
      if (orphans.length > 0) terminal.show(...(items.length > 0 ? [""] : []), toned("Orphans: run by hosts, placed by nobody, and left alone", "bold"), ...orphanTable(orphans, at, terminal.columns));
      if (data.more_orphans) terminal.say("There are more orphans than are listed: name a --host.");
    }
    return flags.exitCode === true && items.length + orphans.length > 0 ? EXIT.degraded : EXIT.ok;
  }
}
