/**
 * `skep logs`: what the components wrote, from every host, with what could not be read said beside it. Following goes
 * on over restarts of components, agents, masters and this program's own connection: by position, so that no line is
 * lost and none is shown twice.
 */
import { readFileSync } from "node:fs";
import { Option, type Command } from "commander";
import { DEFAULT_TAIL_BYTES, LOG_EVENTS, MAX_TAIL_BYTES, MAX_TAIL_LINES, logReply, positionKey, type LogGapJson, type LogLineJson, type LogPositions } from "@skep/protocol";
import { follow } from "../api/follow.ts";
import { usageError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { integer, ref } from "../options.ts";
import { isPositionToken, parsePositions, positionToken } from "../positions.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";

interface Flags {
  readonly follow?: boolean;
  readonly component?: string;
  readonly host?: string;
  readonly tailBytes?: number;
  readonly tail?: number;
  readonly sinceOffset?: number;
  readonly from?: string;
}

export function registerLogs(program: Command, act: Act): void {
  program.command("logs").description("what a deployment's components wrote; with --json and -f one document per line").argument("<deployment>", "name or id", ref)
    .option("-f, --follow", "go on showing what they write")
    .option("--component <name>", "only this component", ref)
    .option("--host <host>", "only on this host", ref)
    .addOption(new Option("--tail <n>", "at most the last n lines of each component").argParser(integer(0, MAX_TAIL_LINES)))
    .addOption(new Option("--tail-bytes <n>", `how far back, for each component (default ${DEFAULT_TAIL_BYTES})`).argParser(integer(0, MAX_TAIL_BYTES)))
    .addOption(new Option("--since-offset <byte>", "everything from this position on, of each component").argParser(integer(0, 999_999_999_999_999)))
    .option("--from <positions>", "everything since: a position token, or a file (- is stdin) that --json wrote")
    .action(act(logs));
}

async function logs(session: Session, deployment: string, flags: Flags): Promise<ExitCode> {
  if ([flags.tail ?? flags.tailBytes, flags.sinceOffset, flags.from].filter((given) => given !== undefined).length > 1) throw usageError("--tail, --since-offset and --from each say where to begin: give one.");
  if (flags.follow === true || flags.from !== undefined || flags.sinceOffset !== undefined) return readOn(session, deployment, flags);
  const { json, terminal } = session;
  const { data, raw } = await session.api.call("getDeploymentLogs", logReply, { params: { deployment }, query: { component: flags.component, host: flags.host, ...tailOf(flags) } });
  if (json) terminal.json(raw);
  else {
    const show = createShow();
    terminal.show(...data.items.map(show));
    terminal.say(...data.gaps.map(gapLine), ...data.errors.map((item) => troubleLine(item, item.error)));
    if (data.items.length === 0 && data.errors.length === 0) terminal.say("Nothing was written yet.");
  }
  // Part of the truth is worth showing; none of it is a failure.
  return data.items.length === 0 && data.errors.length > 0 ? EXIT.unexpected : EXIT.ok;
}

/** Lines are counted in the largest tail there is; how many bytes they have nobody knows before. */
const tailOf = ({ tail, tailBytes }: Flags): { tail_bytes: number; tail_lines?: number } =>
  tail === undefined ? { tail_bytes: tailBytes ?? DEFAULT_TAIL_BYTES } : { tail_bytes: tailBytes ?? (tail === 0 ? 0 : MAX_TAIL_BYTES), tail_lines: tail };

type Source = Pick<LogLineJson, "host" | "component">;
const nameOf = ({ host, component }: Source): string => `${host}/${component}`;
const troubleLine = (source: Source, words: string): Line => [toned(nameOf(source), "warn"), `: ${words}`];
const gapLine = (gap: LogGapJson): Line =>
  troubleLine(gap, gap.kind === "rotated" ? `${gap.rotated_bytes} bytes were rotated away` : `its output is shorter than position ${gap.from}: it began anew, and is read from its beginning`);

/** `host/component | text`, aligned with what was shown before. */
function createShow(): (line: LogLineJson) => Line {
  let width = 0;
  return (line) => {
    const from = nameOf(line);
    width = Math.max(width, from.length);
    return [toned(from.padEnd(width), "dim"), " | ", line.text];
  };
}

async function readOn(session: Session, deployment: string, flags: Flags): Promise<ExitCode> {
  const { json, terminal, signal } = session;
  const show = createShow();
  const given = flags.from === undefined ? undefined : await positionsFrom(session, flags.from);
  /** Kept after a line is shown: a crash between the two repeats a line, the other order would lose one. */
  const positions = new Map<string, number>(Object.entries(given ?? {}));
  /** By what is in trouble, so that a new connection does not tell it again. */
  const troubles = new Map<string, string>();
  let known = given !== undefined;
  let shown = 0;
  const caughtUp = new AbortController();
  const once = flags.follow !== true;

  const take = (event: string, raw: unknown): void => {
    switch (event) {
      case "log": {
        const line = LOG_EVENTS.log.parse(raw);
        if (json) terminal.json(raw);
        else terminal.show(show(line));
        shown += 1;
        return void positions.set(positionKey(line), line.next);
      }
      case "log_position": {
        const at = LOG_EVENTS.log_position.parse(raw);
        if (json) terminal.json({ position: raw });
        return void positions.set(positionKey(at), at.offset);
      }
      case "log_gap": {
        const gap = LOG_EVENTS.log_gap.parse(raw);
        if (json) terminal.json({ gap: raw });
        terminal.say(gapLine(gap));
        return void positions.set(positionKey(gap), gap.to);
      }
      case "log_error": {
        const { error, ...source } = LOG_EVENTS.log_error.parse(raw);
        const code = error.split(":")[0]!;
        if (troubles.get(positionKey(source)) === code) return;
        troubles.set(positionKey(source), code);
        return terminal.say(troubleLine(source, `${error}${once ? "" : "; asking again until it can be read"}`));
      }
      case "log_readable": {
        const source = LOG_EVENTS.log_readable.parse(raw);
        if (troubles.delete(positionKey(source))) terminal.say([toned(nameOf(source), "dim"), ": can be read again"]);
        return;
      }
      case "log_end": {
        const { read, ...source } = LOG_EVENTS.log_end.parse(raw);
        if (json) terminal.json({ end: raw });
        if (!read) terminal.say(troubleLine(source, "its placement is gone, and its last words could not be read"));
        troubles.delete(positionKey(source));
        return void positions.delete(positionKey(source));
      }
      case "log_caught_up":
        return caughtUp.abort();
    }
  };

  await follow({ transport: session.api.transport, clock: session.clock, rng: session.rng, signal: AbortSignal.any([signal, terminal.gone, caughtUp.signal]) }, {
    route: "followDeploymentLogs",
    resume: () => ({
      target: { params: { deployment } },
      body: {
        component: flags.component, host: flags.host, ...tailOf(flags), until: once ? "caught_up" : "stopped",
        ...(known ? { positions: Object.fromEntries(positions) } : flags.sinceOffset === undefined ? {} : { offset: flags.sinceOffset }),
      },
    }),
    onFrame: ({ event, data }) => {
      if (data === "") return;
      const before = positions.size;
      take(event, JSON.parse(data));
      // All sources are named before any is read: until something else is said, to begin again is exact and complete.
      known ||= positions.size > 0 && (event !== "log_position" || positions.size === before);
    },
    onTrouble: (words) => terminal.say(toned(words, "dim")),
  });
  const last = Object.fromEntries(positions);
  if (json) terminal.json({ positions: last });
  else if (!terminal.gone.aborted) sayWhere(session, deployment, last);
  if (signal.aborted) return EXIT.detached;
  return once && shown === 0 && troubles.size > 0 ? EXIT.unexpected : EXIT.ok;
}

function sayWhere({ terminal }: Session, deployment: string, positions: LogPositions): void {
  if (Object.keys(positions).length === 0) return;
  const token = positionToken(positions);
  terminal.say(toned(token === undefined ? "To go on from here another time keep what --json writes, and give it to --from." : `Go on from here: skep logs ${deployment} -f --from ${token}`, "dim"));
}

async function positionsFrom({ readStdin }: Session, from: string): Promise<LogPositions> {
  if (isPositionToken(from)) return parsePositions(from, "The token");
  if (from === "-") return parsePositions(await readStdin(), "stdin");
  let text: string;
  try {
    text = readFileSync(from, "utf8");
  } catch (error) {
    throw usageError(`${from} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"}).`, "Give a position token (pos_…), or a file that skep logs --json wrote.");
  }
  return parsePositions(text, from);
}
