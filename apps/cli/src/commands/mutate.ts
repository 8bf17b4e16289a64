/** `skep mutate`: change what runs, in place. */
import type { Command } from "commander";
import { acceptedOperation, deploymentDetail, mutateRequest, operationPlan } from "@skep/protocol";
import { usageError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { collect, pair, processors, ref, size } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { checkRequest, locateRefusal, readSpecFile } from "../spec-file.ts";
import { hasChanges, planLines } from "../views/plan.ts";
import { runOperation } from "../wait/run-operation.ts";
import { rolloutOf, timeoutOf, waitOf, withOperation, withRollout, type OperationFlags, type RolloutFlags } from "./operations.ts";

interface Flags extends OperationFlags, RolloutFlags {
  readonly env?: Record<string, string>;
  readonly unset?: string[];
  readonly component?: string;
  readonly image?: string;
  readonly memory?: number;
  readonly cpus?: number;
  readonly restart?: boolean;
  readonly stop?: boolean;
  readonly start?: boolean;
  readonly file?: string;
  readonly plan?: boolean;
  readonly dryRun?: boolean;
  readonly exitCode?: boolean;
}

export function registerMutate(program: Command, act: Act): void {
  withRollout(withOperation(program.command("mutate").description("change a deployment in place, and wait until it has").argument("<deployment>", "name or id", ref)))
    .option("--env <k=v>", "set a variable; may be repeated", pair("a variable"))
    .option("--unset <k>", "remove a variable; may be repeated", collect)
    .option("--component <name>", "which one --env, --unset, --image, --memory and --cpus are for", ref)
    .option("--image <ref>", "run this image")
    .option("--memory <size>", "most memory it may use", size)
    .option("--cpus <n>", "most processors it may use", processors)
    .option("--restart", "restart its components")
    .option("--stop", "stop it and keep it")
    .option("--start", "start it again")
    .option("-f, --file <file>", "a patch: the body of POST …/mutate; - for stdin")
    .option("--plan", "show what would happen and change nothing")
    .option("--dry-run", "the same as --plan")
    .option("--exit-code", "with --plan: exit 10 when something would change")
    .action(act(mutate));
}

async function mutate(session: Session, deployment: string, flags: Flags): Promise<ExitCode | void> {
  if (flags.stop === true && flags.start === true) throw usageError("--stop and --start exclude each other.");
  const file = flags.file === undefined ? undefined : await readSpecFile(session, flags.file);
  const { component } = flags;
  if (component === undefined && (flags.image ?? flags.memory ?? flags.cpus) !== undefined) throw usageError("--image, --memory and --cpus need a component.", "Add --component NAME; `skep status NAME` lists them.");
  const env = flags.env === undefined && flags.unset === undefined ? undefined : { ...flags.env, ...Object.fromEntries((flags.unset ?? []).map((name) => [name, null])) };
  let patch: object = file?.value ?? {};
  if (env !== undefined) patch = { ...patch, ...withEnv(patch as Patch, env, component) };
  if (component !== undefined) patch = { ...patch, ...(await withContainer(session, deployment, patch as Patch, component, flags)) };
  const body = {
    ...patch,
    ...(flags.restart === true ? { restart: true } : {}),
    ...(flags.stop === true ? { desired: "stopped" } : flags.start === true ? { desired: "running" } : {}),
    ...timeoutOf(flags),
    ...rolloutOf(flags, file?.value["rollout"]),
    ...(flags.plan === true || flags.dryRun === true ? { dry_run: true } : {}),
  };
  checkRequest(mutateRequest, body, file, file?.name ?? "the change");
  const call = { params: { deployment }, body };
  try {
    if ((body as { dry_run?: unknown }).dry_run === true) {
      const { data, raw } = await session.api.call("mutateDeployment", operationPlan, call);
      if (session.json) session.terminal.json(raw);
      else session.terminal.show(...planLines(data, session.terminal.columns));
      return flags.exitCode === true && hasChanges(data) ? EXIT.changes : EXIT.ok;
    }
    return await runOperation(session, "mutate", await session.api.call("mutateDeployment", acceptedOperation, call), waitOf(flags));
  } catch (error) {
    throw locateRefusal(error, file);
  }
}

type Patch = Readonly<Record<string, unknown>>;

/** Resources are one field of a container and are sent whole, so the ones that are not typed are those it has now. */
async function withContainer(session: Session, deployment: string, patch: Patch, component: string, { image, memory, cpus }: Flags): Promise<object> {
  if ((image ?? memory ?? cpus) === undefined) return {};
  const components = Object(patch["components"]) as Record<string, unknown>;
  const before = Object(components[component]) as Record<string, unknown>;
  const container = Object(before["container"]) as Record<string, unknown>;
  const limits = { ...(memory === undefined ? {} : { memory_bytes: memory }), ...(cpus === undefined ? {} : { cpus }) };
  const resources = memory === undefined && cpus === undefined ? {} : { resources: { ...(container["resources"] ?? (await presentResources(session, deployment, component))), ...limits } };
  return { components: { ...components, [component]: { ...before, container: { ...container, ...(image === undefined ? {} : { image }), ...resources } } } };
}

async function presentResources(session: Session, deployment: string, component: string): Promise<object> {
  const { data } = await session.api.call("getDeployment", deploymentDetail, { params: { deployment } });
  const { components } = Object(data.spec) as { readonly components?: readonly { readonly name?: unknown; readonly container?: { readonly resources?: object } }[] };
  // A component that there is not is the master's to refuse.
  return components?.find(({ name }) => name === component)?.container?.resources ?? {};
}

/** What is typed wins over what the file says of the same variable; the rest of the file stays. */
function withEnv(patch: Patch, env: object, component: string | undefined): object {
  const merged = (before: unknown): object => ({ ...(Object(before) as object), ...env });
  if (component === undefined) return { env: merged(patch["env"]) };
  const components = Object(patch["components"]) as Record<string, unknown>;
  const before = Object(components[component]) as Record<string, unknown>;
  return { components: { ...components, [component]: { ...before, env: merged(before["env"]) } } };
}
