/**
 * The whole of `skep` for one command line, with its surroundings as arguments. Resolves with the exit code and never
 * rejects: every failure is told, on stderr, in words or (with --json) as one JSON document.
 */
import { CommanderError } from "commander";
import type { Clock, Rng } from "@skep/core";
import { createApi, type Api } from "./api/client.ts";
import { createTransport, type Transport } from "./api/transport.ts";
import { CliError, errorJson, errorLines, usageError } from "./cli-error.ts";
import type { Environment } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { createProgram, type GlobalFlags } from "./program.ts";
import type { ScreenDevice } from "./screen/device.ts";
import { openScreen } from "./screen/screen.ts";
import type { Act, Session } from "./session.ts";
import { loadSettings, type Settings } from "./settings.ts";
import { createTerminal, type Sink } from "./terminal.ts";
import { safeJson } from "./text/clean.ts";
import { renderLine } from "./text/line.ts";

export interface CliDeps {
  readonly env: Environment;
  readonly out: Sink;
  readonly err: Sink;
  readonly device: ScreenDevice;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Aborts at the first Ctrl-C. */
  readonly signal: AbortSignal;
  /** Aborts when nobody reads stdout any more. */
  readonly gone: AbortSignal;
  readonly readStdin: () => Promise<string>;
  readonly readStdinBytes: (limit: number) => Promise<Uint8Array>;
}

export async function runCli(argv: readonly string[], deps: CliDeps): Promise<number> {
  let exit: number = EXIT.ok;
  let transport: Transport | undefined;
  let json = argv.includes("--json");

  const createSession = (flags: GlobalFlags): Session => {
    json = flags.json === true;
    const color = deps.env.color && flags.color;
    let settings: Settings | undefined;
    let api: Api | undefined;
    const load = (): Settings => (settings ??= loadSettings(flags, deps.env));
    return {
      ...deps,
      json,
      terminal: createTerminal({ out: deps.out, err: deps.err, color, gone: deps.gone }),
      openScreen: json || !deps.out.isTty || !deps.env.screen ? undefined : (on) => openScreen({ out: deps.out, device: deps.device, color, ...on }),
      get settings() {
        return load();
      },
      get api() {
        if (api !== undefined) return api;
        const { url, token, ca } = load();
        transport = createTransport({ url: url.value, token: token.value, ca: ca.value, allowPlainHttp: flags.allowPlainHttp === true });
        return (api = createApi({ transport, clock: deps.clock, rng: deps.rng, signal: deps.signal }));
      },
    };
  };

  const act: Act = (action) => async (...args) => {
    // Commander appends the command itself.
    exit = (await action(createSession(program.opts<GlobalFlags>()), ...(args.slice(0, -1) as never))) ?? EXIT.ok;
  };
  const program = createProgram(act, { out: (text) => deps.out.write(text) });

  try {
    await program.parseAsync([...argv], { from: "user" });
    return exit;
  } catch (error) {
    const failure = toCliError(error);
    if (failure === undefined) return EXIT.ok;
    if (json) deps.err.write(`${safeJson(errorJson(failure))}\n`);
    else for (const line of errorLines(failure)) deps.err.write(`${renderLine(line, deps.env.color && deps.err.isTty)}\n`);
    return failure.exit;
  } finally {
    await transport?.close();
  }
}

/** undefined: no failure, help was asked for and given. */
function toCliError(error: unknown): CliError | undefined {
  if (error instanceof CliError) return error;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return undefined;
    // Without a command commander "fails" with its help, which it has written to nowhere.
    if (error.code === "commander.help") return usageError("Say what to do.", "skep --help lists the commands.");
    return usageError(error.message.replace(/^error: /, "").replaceAll("\n", " "));
  }
  return new CliError({ code: "internal", title: "Something broke on our side", detail: error instanceof Error ? error.message : String(error), exit: EXIT.unexpected, fix: "This is a fault of skep's; please report it with what you typed.", cause: error });
}
