/** `skep lifecycle`: what was asked, and what became of it. */
import { Option, type Command } from "commander";
import { LIFECYCLE_STATUSES, isTerminal, isUuid, type LifecycleStatus } from "@skep/core";
import { cancelLifecycleReply, lifecycleList, lifecycleView } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { usageError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { duration, integer, oneOf, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { lifecycleFacts, lifecycleTable } from "../views/lifecycle.ts";
import { state } from "../views/tones.ts";
import { causeLines } from "../wait/render.ts";
import { DEFAULT_WAIT_S } from "../wait/run-operation.ts";
import { watchRows } from "../wait/watch-rows.ts";

interface ListFlags {
  readonly deployment?: string;
  readonly host?: string;
  readonly status?: LifecycleStatus;
  readonly open?: boolean;
  readonly limit: number;
  readonly watch?: boolean;
  readonly timeout: number;
}

export function registerLifecycle(program: Command, act: Act): void {
  const lifecycle = program.command("lifecycle").description("lifecycle rows: ls (the default), show, cancel, resolve");

  lifecycle.command("ls", { isDefault: true }).description("list rows, or those of the ids given; --watch waits until they have ended").argument("[ids...]")
    .option("--deployment <deployment>", "of this deployment", ref)
    .option("--host <host>", "on this host", ref)
    .option("--status <status>", LIFECYCLE_STATUSES.join(", "), oneOf(LIFECYCLE_STATUSES))
    .option("--open", "only those that have not ended")
    .addOption(new Option("--limit <n>", "the newest").default(50).argParser(integer(1, 1_000_000)))
    .option("--watch", "wait until all of them have ended")
    .addOption(new Option("--timeout <duration>", "with --watch: how long; 0 = as long as it takes").default(DEFAULT_WAIT_S, "10m").argParser(duration(0, 30 * 86_400)))
    .action(act(list));

  lifecycle.command("show").description("one row with its steps").argument("<id>")
    .action(act(async ({ api, json, terminal }, id: string) => {
      const { data, raw, at } = await api.call("getLifecycle", lifecycleView, { params: { id: uuid(id) } });
      if (json) terminal.json(raw);
      else terminal.show(...lifecycleFacts(data, at));
    }));

  lifecycle.command("cancel").description("stop it for certain; it is cancelled when the host says so").argument("<ids...>")
    .action(act(async ({ api, json, terminal }, ids: readonly string[]) => {
      const raws: unknown[] = [];
      for (const id of ids.map(uuid)) {
        const { data, raw } = await api.call("cancelLifecycle", cancelLifecycleReply, { params: { id } });
        raws.push(raw);
        if (!json) terminal.show([data.id, "  ", state(data.status), `  ${data.because}`]);
      }
      if (json) terminal.json(raws.length === 1 ? raws[0] : { items: raws });
    }));

  lifecycle.command("resolve").description("decide that a lost row's host will never answer").argument("<id>")
    .requiredOption("--host-lost", "your word for it: the row ends as failed, host_lost")
    .option("--note <text>", "why; kept in the audit log")
    .action(act(async ({ api, json, terminal }, id: string, flags: { note?: string }) => {
      const body = { outcome: "host_lost", ...(flags.note === undefined ? {} : { note: flags.note }) };
      const { data, raw } = await api.call("resolveLifecycle", cancelLifecycleReply, { params: { id: uuid(id) }, body });
      if (json) terminal.json(raw);
      else terminal.show([data.id, "  ", state(data.status), `  ${data.because}`]);
    }));
}

async function list(session: Session, ids: readonly string[], flags: ListFlags): Promise<ExitCode> {
  const { api, json, terminal } = session;
  const query = { ids: ids.length === 0 ? undefined : ids.map(uuid).join(","), deployment: flags.deployment, host: flags.host, status: flags.status, open: flags.open };
  const { items, raw, at } = await listAll(api, "listLifecycle", lifecycleList, { query }, ids.length === 0 ? flags.limit : undefined);
  if (flags.watch === true && items.some((row) => !isTerminal(row.status))) return watch(session, items.map((row) => row.id), flags.timeout);
  if (json) terminal.json({ ...raw, rows: raw.items });
  else if (items.length === 0) terminal.say("No such rows.");
  else if (ids.length === 1) terminal.show(...items.flatMap((row) => lifecycleFacts(row, at)));
  else terminal.show(...lifecycleTable(items, at, terminal.columns));
  // Ids that the ledger does not know are left out of its answer; that is not to pass for "they are fine".
  const missing = ids.filter((id) => !items.some((row) => row.id === id));
  if (missing.length === 0) return EXIT.ok;
  terminal.say(...missing.map((id) => `There is no row ${id}.`));
  return EXIT.notFound;
}

async function watch(session: Session, ids: readonly string[], timeoutS: number): Promise<ExitCode> {
  const { json, terminal } = session;
  const { outcome, exit, rows, rawRows } = await watchRows(session, { title: ids.length === 1 ? "1 row" : `${ids.length} rows`, ids, timeoutS });
  if (json) terminal.json({ outcome, rows: rawRows });
  else {
    terminal.show([`${ids.length === 1 ? "1 row" : `${ids.length} rows`}: `, state(outcome)], ...causeLines(rows));
  }
  return exit;
}

function uuid(text: string): string {
  if (!isUuid(text)) throw usageError(`${text} is not a lifecycle row's id.`, "List them: skep lifecycle");
  return text;
}
