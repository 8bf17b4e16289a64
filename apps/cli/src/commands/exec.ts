/**
 * `skep exec`: run a command in a running component. Its output is passed on as it comes, its exit code is ours, and
 * whatever fails on the way is 125, so that a script can tell the command's failure from ours.
 */
import { constants } from "node:os";
import { uuidv7 } from "@skep/core";
import { DEFAULT_EXEC_TIMEOUT_S, EXEC_BEAT_MS, MAX_EXEC_TIMEOUT_S, MAX_STDIN_BYTES, operatorExecFrame, type OperatorExecEnd } from "@skep/protocol";
import { InvalidArgumentError, Option, type Command } from "commander";
import { addressOf } from "../api/path.ts";
import { connectionError } from "../api/transport.ts";
import { CliError, refusalError, usageError } from "../cli-error.ts";
import { EXEC_EXIT, EXIT } from "../exit-codes.ts";
import { duration, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned } from "../text/line.ts";

interface Flags {
  readonly host?: string;
  readonly timeout: number;
  readonly stdin?: boolean;
}

/** The master first asks the host, which may take its time to answer or to be found away. */
const HEADERS_MS = 60_000;
/** A line is never longer than one frame. */
const MAX_LINE_CHARS = 131_072;

export function registerExec(program: Command, act: Act): void {
  program.command("exec").description("run a command in a running component; ends with its exit code, or 125 if it could not be run")
    .usage("[options] <deployment>[/component] -- <command> [arguments...]")
    .argument("<target>", "deployment, or deployment/component where there are several", parseTarget)
    .argument("<command...>", "program and arguments, after --; no shell sees them")
    .option("--host <host>", "where, if it is placed on several hosts", ref)
    .addOption(new Option("--timeout <duration>", "killed after that").default(DEFAULT_EXEC_TIMEOUT_S, "60s").argParser(duration(1, MAX_EXEC_TIMEOUT_S)))
    .option("-i, --stdin", "read stdin to its end (at most 1 MiB) and give it to the command; there is no terminal mode")
    .exitOverride((error) => {
      throw error.exitCode === 0 ? error : ours(usageError(error.message.replace(/^error: /, "")));
    })
    .action(act(async (session, target: Where, command: string[], flags: Flags) => {
      try {
        return await run(session, target, command, flags);
      } catch (error) {
        throw error instanceof CliError && error.exit !== EXIT.detached ? ours(error) : error;
      }
    }));
}

const OURS: ReadonlySet<number> = new Set(Object.values(EXEC_EXIT));
/** The same failure under an exit code that says it was not the command's. */
const ours = (error: CliError): CliError => (OURS.has(error.exit) ? error : new CliError({ ...error.facts, exit: EXEC_EXIT.ours }));

interface Where {
  readonly deployment: string;
  readonly component: string | undefined;
}

function parseTarget(text: string): Where {
  const [deployment = "", component, ...more] = text.split("/");
  if (more.length > 0) throw new InvalidArgumentError("Give DEPLOYMENT or DEPLOYMENT/COMPONENT.");
  return { deployment: ref(deployment), component: component === undefined ? undefined : ref(component) };
}

async function run(session: Session, { deployment, component }: Where, command: readonly string[], flags: Flags): Promise<number> {
  const { clock, rng, signal, terminal, json } = session;
  const stdin = flags.stdin === true ? await readInput(session) : undefined;
  const { transport } = session.api;
  const { method, path } = addressOf("execDeployment", { params: { deployment } });
  const body = JSON.stringify({ command, timeout_s: flags.timeout, ...(component === undefined ? {} : { component }), ...(flags.host === undefined ? {} : { host: flags.host }), ...(stdin === undefined ? {} : { stdin_base64: stdin }) });
  let end: OperatorExecEnd | undefined;
  try {
    // Sent once and never again: a command that may have run is not run twice.
    const reply = await transport.send({ method, path, signal, quietMs: Math.max(HEADERS_MS, 3 * EXEC_BEAT_MS), headers: { accept: "application/x-ndjson, application/json", "idempotency-key": uuidv7(clock.now(), rng) }, body });
    if (reply.statusCode !== 200) throw refusalError(reply.statusCode, parse(await reply.body.text()), undefined);
    for await (const line of linesOf(reply.body as AsyncIterable<Uint8Array>)) {
      const raw = parse(line);
      const frame = operatorExecFrame.safeParse(raw);
      if (!frame.success) throw unexpected("The master sent a frame that this skep does not know.");
      if ("problem" in frame.data) throw refusalError(frame.data.problem.status, frame.data.problem, undefined);
      if (json) terminal.json(raw);
      else if ("stream" in frame.data) terminal.pass(frame.data.stream, Buffer.from(frame.data.data, "base64"));
      if ("truncated_bytes" in frame.data) end = frame.data;
    }
  } catch (error) {
    if (signal.aborted) throw interrupted();
    if (error instanceof CliError) throw error;
    const { facts } = connectionError(error, transport.url).error;
    throw new CliError({ ...facts, fix: "Whether the command ran is in the audit log: skep audit --action exec. It is killed once its connection is gone." });
  }
  if (end === undefined) throw unexpected("The master's answer ended without the command's end.");
  if (end.truncated_bytes > 0) terminal.say(toned(`${end.truncated_bytes} bytes of output were cut off: a command may say 16 MiB`, "warn"));
  if (!end.audited) terminal.say(toned("The end could not be written to the audit log; its beginning is there.", "warn"));
  return exitOf(end);
}

function exitOf({ exit_code: code, signal, error }: OperatorExecEnd): number {
  if (code !== undefined) return code;
  if (signal !== undefined) return EXEC_EXIT.signal + ((constants.signals as Record<string, number>)[signal] ?? 0);
  const exit = error?.code === "exec_timeout" ? EXEC_EXIT.timedOut : error?.code === "program_not_found" ? EXEC_EXIT.notFound : error?.code === "not_executable" ? EXEC_EXIT.notExecutable : EXEC_EXIT.ours;
  throw new CliError({ code: error?.code ?? "unexpected_reply", detail: error?.message ?? "The command's end was not said.", exit, fix: FIXES[error?.code ?? ""] ?? "Look at the host; what was run when is in the audit log: skep audit --action exec." });
}

const FIXES: Readonly<Record<string, string>> = {
  exec_timeout: "Give it more time with --timeout, or run less.",
  program_not_found: "Name a program that is there: the component's own PATH counts, and no shell is involved.",
  not_executable: "Name an executable file; for a shell's syntax run sh -c '…'.",
};

async function readInput({ readStdinBytes }: Session): Promise<string> {
  const bytes = await readStdinBytes(MAX_STDIN_BYTES);
  if (bytes.length > MAX_STDIN_BYTES) throw usageError(`stdin has more than ${MAX_STDIN_BYTES} bytes.`, "Bring larger input onto the host some other way.");
  return Buffer.from(bytes).toString("base64");
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      // An empty line is a sign of life.
      if (line !== "") yield line;
    }
    if (rest.length > MAX_LINE_CHARS) throw unexpected("The master sent a line that is too long.");
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const unexpected = (detail: string): CliError =>
  new CliError({ code: "unexpected_reply", detail, exit: EXIT.unexpected, fix: "Look what became of it: skep audit --action exec. Compare the versions of both: skep version." });
const interrupted = (): CliError =>
  new CliError({ code: "interrupted", title: "Interrupted", detail: "Interrupted; the command is killed with its connection.", exit: EXIT.detached, fix: "When it ended is in the audit log: skep audit --action exec." });
