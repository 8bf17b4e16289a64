/** `skep host drain`, `skep move` and `skep rebalance`: placements on their way from one host to another. */
import { Option, type Command } from "commander";
import { isOpenDrain, jitter } from "@skep/core";
import { drainPlan, drainView, moveList, moveView, rebalanceReply, type DrainJson } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { CliError, usageError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { integer, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";
import { drainLines, drainTable, moveTable, rebalanceLines } from "../views/moves.ts";
import { state } from "../views/tones.ts";
import { withWaiting } from "./operations.ts";

interface DrainFlags {
  readonly stopPinned?: boolean;
  readonly dryRun?: boolean;
  readonly cancel?: boolean;
  readonly status?: boolean;
  readonly detach?: boolean;
  readonly wait: boolean;
  readonly timeout: number;
}

const EAGER_MS = 500;
const PATIENT_MS = 2_000;
const EAGER_FOR_MS = 20_000;
const QUIET_LINE_MS = 10_000;

export function registerDrain(host: Command, act: Act): void {
  withWaiting(host.command("drain").description("cordon it, move what runs there to other hosts, and wait until it says itself that nothing is left").argument("<host>", "name or id", ref))
    .option("--stop-pinned", "stop what is pinned to it; without that it holds the drain up")
    .option("--dry-run", "show what would go where, and change nothing")
    .option("--cancel", "move nothing more; what is there stays, and the host stays cordoned")
    .option("--status", "show how far it is, and change nothing")
    .option("--detach", "the same as --no-wait")
    .action(act(drain));
}

export function registerMoves(program: Command, act: Act): void {
  const move = program.command("move").description("placements on their way from one host to another: ls (the default), cancel");
  move.command("ls", { isDefault: true }).description("list moves, newest first")
    .option("--host <host>", "from it or to it", ref)
    .option("--deployment <deployment>", "of this deployment", ref)
    .option("--open", "only those that have not ended")
    .addOption(new Option("--limit <n>", "the newest").default(50).argParser(integer(1, 1_000_000)))
    .action(act(async ({ api, json, terminal }, flags: { host?: string; deployment?: string; open?: boolean; limit: number }) => {
      const { items, raw, at } = await listAll(api, "listMoves", moveList, { query: { host: flags.host, deployment: flags.deployment, open: flags.open } }, flags.limit);
      if (json) terminal.json(raw);
      else if (items.length === 0) terminal.say("No such moves.");
      else terminal.show(...moveTable(items, at, terminal.columns));
    }));
  move.command("cancel").description("leave the placement where it is, while the old copy is still there").argument("<id>", "a move's id", ref)
    .action(act(async ({ api, json, terminal }, id: string) => {
      const { data, raw } = await api.call("cancelMove", moveView, { params: { move: id } });
      if (json) terminal.json(raw);
      else terminal.show([`${data.deployment} ${data.from_host} → ${data.to_host}: `, state(data.status), `  to be cancelled; follow it: skep move ls --deployment ${data.deployment}`]);
    }));

  program.command("rebalance").description("even out how many placements hosts carry").option("--dry-run", "show the moves, and make none")
    .action(act(async ({ api, json, terminal }, flags: { dryRun?: boolean }) => {
      const { data, raw } = await api.call("rebalanceFleet", rebalanceReply, { body: { dry_run: flags.dryRun === true } });
      if (json) terminal.json(raw);
      else terminal.show(...rebalanceLines(data, terminal.columns));
    }));
}

async function drain(session: Session, host: string, flags: DrainFlags): Promise<ExitCode | void> {
  const { api, json, terminal } = session;
  const modes = [flags.cancel, flags.status, flags.dryRun].filter((flag) => flag === true);
  if (modes.length > 1 || ((flags.cancel === true || flags.status === true) && flags.stopPinned === true)) throw usageError("--cancel, --status and --dry-run exclude each other, and --stop-pinned goes with a drain or its plan.");
  if (flags.cancel === true || flags.status === true) {
    const { data, raw } = await api.call(flags.cancel === true ? "cancelDrain" : "getDrain", drainView, { params: { host } });
    if (json) terminal.json(raw);
    else terminal.show(...drainLines(data, terminal.columns));
    return;
  }
  const body = { stop_pinned: flags.stopPinned === true, dry_run: flags.dryRun === true };
  if (body.dry_run) {
    const { data, raw } = await api.call("drainHost", drainPlan, { params: { host }, body });
    if (json) terminal.json(raw);
    else terminal.show([toned(data.host, "bold"), `: ${data.placements.length} placements; a plan, nothing was changed`], ...drainTable(data.placements, terminal.columns));
    return;
  }
  const { data, raw } = await api.call("drainHost", drainView, { params: { host }, body });
  if (!flags.wait || flags.detach === true) {
    if (json) terminal.json(raw);
    else terminal.show(...drainLines(data, terminal.columns), `  Watch   skep host drain ${host} --status`, `  Cancel  skep host drain ${host} --cancel`);
    return;
  }
  return waitFor(session, host, data, raw, flags.timeout);
}

/** Until it is drained, or blocked: then only a person can go on. What the master does not say is not assumed. */
async function waitFor(session: Session, host: string, first: DrainJson, firstRaw: unknown, timeoutS: number): Promise<ExitCode> {
  const { api, clock, json, rng, signal, terminal } = session;
  const startMs = clock.mono();
  let [drain, raw] = [first, firstRaw];
  let told = "";
  let toldMs = startMs;
  const end = (exit: ExitCode, ...lines: readonly Line[]): ExitCode => {
    if (json) terminal.json(raw);
    else terminal.show(...drainLines(drain, terminal.columns));
    terminal.say(...lines);
    return exit;
  };
  const goesOn = [`  Watch   skep host drain ${host} --status`, `  Cancel  skep host drain ${host} --cancel`];
  for (let away: CliError | undefined; ; ) {
    const elapsedMs = clock.mono() - startMs;
    const word = away === undefined ? `${drain.host} ${drain.status}: ${drain.because}` : `the master does not answer (${away.facts.code}); asking again`;
    if (word !== told || clock.mono() - toldMs >= QUIET_LINE_MS) {
      terminal.say(`${word} (${Math.floor(elapsedMs / 1_000)}s)`);
      [told, toldMs] = [word, clock.mono()];
    }
    if (drain.status === "drained") return end(EXIT.ok);
    if (drain.status === "blocked") return end(EXIT.undecided, `  ${drain.next ?? "See the reasons above."} The drain goes on by itself once it can.`, ...goesOn);
    if (!isOpenDrain(drain.status)) return end(EXIT.failed);
    if (signal.aborted) return end(EXIT.detached, "Detached. The drain goes on.", ...goesOn);
    const leftMs = timeoutS === 0 ? Number.POSITIVE_INFINITY : timeoutS * 1_000 - elapsedMs;
    if (leftMs <= 0) return end(away === undefined ? EXIT.timedOut : EXIT.unreachable, "The wait is over, the drain is not: it goes on.", ...goesOn);
    await clock.sleep(Math.min(leftMs, jitter(elapsedMs < EAGER_FOR_MS ? EAGER_MS : PATIENT_MS, 0.1, rng)), signal);
    try {
      ({ data: drain, raw } = await api.call("getDrain", drainView, { params: { host } }));
      away = undefined;
    } catch (error) {
      if (signal.aborted) continue;
      // Anything else but absence is an answer, and waiting would not change it.
      if (!(error instanceof CliError) || error.exit !== EXIT.unreachable) throw error;
      away = error;
    }
  }
}
