/** `skep deploy`: from a file to running, or to a plan. */
import type { Command } from "commander";
import { stringify } from "yaml";
import { STRATEGIES, type Strategy } from "@skep/core";
import { acceptedOperation, deployRequest, operationPlan } from "@skep/protocol";
import { usageError } from "../cli-error.ts";
import { isCompose, readComposeFile, type ComposeFlags } from "../compose/compose-file.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { anyOf, collect, collectRefs, integer, oneOf, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { checkRequest, locateRefusal, parseSpecFile, readSpecText, type SpecFile } from "../spec-file.ts";
import { toned, type Line } from "../text/line.ts";
import { hasChanges, planLines } from "../views/plan.ts";
import { runOperation } from "../wait/run-operation.ts";
import { rolloutOf, waitOf, withOperation, withRollout, type OperationFlags, type RolloutFlags } from "./operations.ts";

interface Flags extends OperationFlags, RolloutFlags, ComposeFlags {
  readonly file?: string;
  readonly host?: string[];
  readonly replicas?: number;
  readonly strategy?: Strategy;
  readonly constraint?: Record<string, string | string[]>;
  readonly replace?: boolean;
  readonly plan?: boolean;
  readonly dryRun?: boolean;
  readonly exitCode?: boolean;
  readonly printSpec?: boolean;
}

export function registerDeploy(program: Command, act: Act): void {
  withRollout(withOperation(program.command("deploy [file]").description("deploy what a spec or a Compose file says, and wait until it runs")))
    .option("-f, --file <file>", "the deployment; - for stdin")
    .option("--name <name>", "instead of the file's name", ref)
    .option("--host <host>", "run it there; with --strategy ordered: in this order of preference; may be repeated", collectRefs)
    .option("--replicas <n>", "on that many hosts", integer(1, 1_000))
    .option("--strategy <strategy>", `which hosts: ${STRATEGIES.join(", ")}`, oneOf(STRATEGIES))
    .option("--constraint <k=v>", "only on hosts with this label; the same label again: any of its values", anyOf("a label"))
    .option("--replace", "over an existing deployment of that name")
    .option("--plan", "show what would happen and change nothing")
    .option("--dry-run", "the same as --plan")
    .option("--print-spec", "print what would be sent, and send nothing")
    .option("--profile <name>", "Compose: with the services of this profile; may be repeated", collect)
    .option("--env-file <file>", "Compose: variables for the file, instead of the .env beside it; may be repeated", collect)
    .option("--ignore-build", "Compose: run a service's image although it has a build")
    .option("--exit-code", "with --plan: exit 10 when something would change")
    .action(act(deploy));
}

async function deploy(session: Session, positional: string | undefined, flags: Flags): Promise<ExitCode | void> {
  const path = flags.file ?? positional;
  if (path === undefined) throw usageError("Say what to deploy.", "skep deploy -f web.yaml");
  if (flags.file !== undefined && positional !== undefined) throw usageError(`Two files are given: ${positional} and ${flags.file}.`);
  if (flags.host !== undefined && flags.replicas !== undefined && flags.strategy !== "ordered") throw usageError("--host and --replicas exclude each other.", "Name the hosts, or say how many.");
  const file = await readDeployment(session, path, flags);
  const plan = flags.plan === true || flags.dryRun === true;
  const body = {
    ...file.value,
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...placementOf(file.value["placement"], flags),
    ...(flags.replace === true ? { replace: true } : {}),
    ...(flags.jobTimeout === undefined ? {} : { timeout_s: flags.jobTimeout }),
    ...rolloutOf(flags, file.value["rollout"]),
    ...(plan ? { dry_run: true } : {}),
  };
  checkRequest(deployRequest, body, file, file.name);
  if (flags.printSpec === true) {
    if (session.json) session.terminal.json(body);
    else session.terminal.show(...stringify(body, { lineWidth: 0 }).trimEnd().split("\n"));
    return EXIT.ok;
  }
  try {
    // The file itself may ask for a dry run.
    if ((body as { dry_run?: unknown }).dry_run === true) {
      const { data, raw } = await session.api.call("createDeployment", operationPlan, { body });
      if (session.json) session.terminal.json(raw);
      else session.terminal.show(...planLines(data, session.terminal.columns));
      return flags.exitCode === true && hasChanges(data) ? EXIT.changes : EXIT.ok;
    }
    return await runOperation(session, "deploy", await session.api.call("createDeployment", acceptedOperation, { body }), waitOf(flags));
  } catch (error) {
    throw locateRefusal(error, file);
  }
}

/** What is not one of our own files is a Compose file, converted. */
async function readDeployment(session: Session, path: string, flags: Flags): Promise<SpecFile> {
  const text = await readSpecText(session, path);
  if (!isCompose(text, path)) {
    const only = ([["profile", "--profile"], ["envFile", "--env-file"], ["ignoreBuild", "--ignore-build"]] as const).find(([flag]) => flags[flag] !== undefined);
    if (only !== undefined) throw usageError(`${only[1]} is for Compose files, and ${path === "-" ? "stdin" : path} is none.`, "A Compose file has services at its top.");
    return parseSpecFile(text, path === "-" ? "stdin" : path);
  }
  const file = await readComposeFile(text, path, flags, session.env.inherited);
  session.terminal.say(...file.warnings.map(({ at, key, message }): Line => [toned("warning", "warn"), `: ${at} ${key}: ${message}`]));
  return file;
}

/** Where it goes is one wish: hosts, replicas or a strategy typed here take the place of the file's hosts and strategy. */
function placementOf(before: unknown, { host, replicas, strategy, constraint }: Flags): { placement?: object } {
  const constraints = constraint === undefined ? {} : { constraints: constraint };
  const { hosts: oldHosts, replicas: oldReplicas, strategy: oldStrategy, ...rest } = Object(before) as Record<string, unknown>;
  if (host === undefined && replicas === undefined && strategy === undefined) return constraint === undefined ? {} : { placement: { ...Object(before), ...constraints } };
  const kept = (name: string, value: unknown): object => (value === undefined ? {} : { [name]: value });
  const ordered = (strategy ?? oldStrategy) === "ordered";
  // An order is kept when only its number changes; the number is kept when only the way of choosing changes.
  const where = ordered ? { ...kept("hosts", host ?? oldHosts), ...kept("replicas", replicas ?? oldReplicas) } : host !== undefined ? { hosts: host } : kept("replicas", replicas ?? oldReplicas);
  return { placement: { ...rest, ...where, ...kept("strategy", host !== undefined && strategy === undefined && !ordered ? undefined : (strategy ?? oldStrategy)), ...constraints } };
}
