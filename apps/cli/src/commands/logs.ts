/** `skep logs`: what the components wrote, from every host, with what could not be read said beside it. */
import { Option, type Command } from "commander";
import { logLine, logReply } from "@skep/protocol";
import { follow } from "../api/follow.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { integer, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";

type LogLine = ReturnType<(typeof logLine)["parse"]>;

interface Flags {
  readonly follow?: boolean;
  readonly component?: string;
  readonly host?: string;
  readonly tailBytes: number;
}

/** After a broken connection: how far back is asked for again, so that nothing in between is missed. */
const RESUME_BYTES = 65_536;
const REMEMBERED_LINES = 8_192;

export function registerLogs(program: Command, act: Act): void {
  program.command("logs").description("what a deployment's components wrote; with --json and -f one document per line").argument("<deployment>", "name or id", ref)
    .option("-f, --follow", "go on showing what they write")
    .option("--component <name>", "only this component", ref)
    .option("--host <host>", "only on this host", ref)
    .addOption(new Option("--tail-bytes <n>", "how far back, for each component").default(16_384).argParser(integer(0, 1_048_576)))
    .action(act(logs));
}

async function logs(session: Session, deployment: string, flags: Flags): Promise<ExitCode> {
  if (flags.follow === true) return followLogs(session, deployment, flags);
  const { json, terminal } = session;
  const { data, raw } = await session.api.call("getDeploymentLogs", logReply, { params: { deployment }, query: { component: flags.component, host: flags.host, tail_bytes: flags.tailBytes } });
  if (json) terminal.json(raw);
  else {
    const show = createShow();
    terminal.show(...data.items.map(show));
    terminal.say(...data.errors.map((item): Line => [toned(`${item.host} ${item.component}`, "warn"), `: ${item.error}`]));
    if (data.items.length === 0 && data.errors.length === 0) terminal.say("Nothing was written yet.");
  }
  // Part of the truth is worth showing; none of it is a failure.
  return data.items.length === 0 && data.errors.length > 0 ? EXIT.unexpected : EXIT.ok;
}

/** `host component | text`, aligned with what was shown before. */
function createShow(): (line: LogLine) => Line {
  let width = 0;
  return ({ host, component, text }) => {
    const from = `${host} ${component}`;
    width = Math.max(width, from.length);
    return [toned(from.padEnd(width), "dim"), " | ", text];
  };
}

async function followLogs(session: Session, deployment: string, flags: Flags): Promise<ExitCode> {
  const { json, terminal, signal } = session;
  const show = createShow();
  const seen = createSeen();
  let resuming = false;
  await follow({ transport: session.api.transport, clock: session.clock, rng: session.rng, signal: AbortSignal.any([signal, terminal.gone]) }, {
    route: "getDeploymentLogs",
    resume: () => {
      const tail = resuming ? Math.max(RESUME_BYTES, flags.tailBytes) : flags.tailBytes;
      resuming = true;
      return { target: { params: { deployment }, query: { follow: true, component: flags.component, host: flags.host, tail_bytes: tail } } };
    },
    onFrame: ({ event, data }) => {
      if (event === "log_error") {
        const { host, component, error } = JSON.parse(data) as Record<string, unknown>;
        terminal.say([toned(`${String(host)} ${String(component)}`, "warn"), `: ${String(error)}`]);
      }
      if (event !== "log") return;
      const raw: unknown = JSON.parse(data);
      const line = logLine.parse(raw);
      if (seen(line)) return;
      if (json) terminal.json(raw);
      else terminal.show(show(line));
    },
    onTrouble: (words) => terminal.say(toned(words, "dim")),
  });
  return signal.aborted ? EXIT.detached : EXIT.ok;
}

/**
 * Whether exactly this line was shown already, per component. By offset and text, not by offset alone: output that
 * began anew on a rebuilt host has small offsets again and must not be swallowed.
 */
function createSeen(): (line: LogLine) => boolean {
  const shown = new Map<string, Map<number, string>>();
  return ({ host, component, offset, text }) => {
    const key = `${host}/${component}`;
    const lines = shown.get(key) ?? new Map<number, string>();
    shown.set(key, lines);
    if (lines.get(offset) === text) return true;
    lines.delete(offset);
    lines.set(offset, text);
    if (lines.size > REMEMBERED_LINES) lines.delete(lines.keys().next().value!);
    return false;
  };
}
