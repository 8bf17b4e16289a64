/** `skep deploy`: from a file to running, or to a plan. */
import type { Command } from "commander";
import { acceptedOperation, deployRequest, operationPlan } from "@skep/protocol";
import { usageError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { collectRefs, integer, pair, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { checkRequest, locateRefusal, readSpecFile } from "../spec-file.ts";
import { hasChanges, planLines } from "../views/plan.ts";
import { runOperation } from "../wait/run-operation.ts";
import { waitOf, withOperation, type OperationFlags } from "./operations.ts";

interface Flags extends OperationFlags {
  readonly file?: string;
  readonly name?: string;
  readonly host?: string[];
  readonly replicas?: number;
  readonly constraint?: Record<string, string>;
  readonly replace?: boolean;
  readonly plan?: boolean;
  readonly dryRun?: boolean;
  readonly exitCode?: boolean;
}

export function registerDeploy(program: Command, act: Act): void {
  withOperation(program.command("deploy [file]").description("deploy what a YAML or JSON file says, and wait until it runs"))
    .option("-f, --file <file>", "the deployment; - for stdin")
    .option("--name <name>", "instead of the file's name", ref)
    .option("--host <host>", "run it there; may be repeated", collectRefs)
    .option("--replicas <n>", "on that many hosts", integer(1, 1_000))
    .option("--constraint <k=v>", "only on hosts with this label; may be repeated", pair("a label"))
    .option("--replace", "over an existing deployment of that name")
    .option("--plan", "show what would happen and change nothing")
    .option("--dry-run", "the same as --plan")
    .option("--exit-code", "with --plan: exit 10 when something would change")
    .action(act(deploy));
}

async function deploy(session: Session, positional: string | undefined, flags: Flags): Promise<ExitCode | void> {
  const path = flags.file ?? positional;
  if (path === undefined) throw usageError("Say what to deploy.", "skep deploy -f web.yaml");
  if (flags.file !== undefined && positional !== undefined) throw usageError(`Two files are given: ${positional} and ${flags.file}.`);
  if (flags.host !== undefined && flags.replicas !== undefined) throw usageError("--host and --replicas exclude each other.", "Name the hosts, or say how many.");
  const file = await readSpecFile(session, path);
  const plan = flags.plan === true || flags.dryRun === true;
  const body = {
    ...file.value,
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...placementOf(file.value["placement"], flags),
    ...(flags.replace === true ? { replace: true } : {}),
    ...(flags.jobTimeout === undefined ? {} : { timeout_s: flags.jobTimeout }),
    ...(plan ? { dry_run: true } : {}),
  };
  checkRequest(deployRequest, body, file, file.name);
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

/** Hosts and replicas exclude each other, so the one that is given on the command line takes the other's place. */
function placementOf(before: unknown, { host, replicas, constraint }: Flags): { placement?: object } {
  if (host === undefined && replicas === undefined && constraint === undefined) return {};
  const { hosts: oldHosts, replicas: oldReplicas, ...rest } = Object(before) as Record<string, unknown>;
  const where = host !== undefined ? { hosts: host } : replicas !== undefined ? { replicas } : { ...(oldHosts === undefined ? {} : { hosts: oldHosts }), ...(oldReplicas === undefined ? {} : { replicas: oldReplicas }) };
  return { placement: { ...rest, ...where, ...(constraint === undefined ? {} : { constraints: constraint }) } };
}

