/** The commands there are, and the options that all of them take. */
import { Command } from "commander";
import { registerAlerts } from "./commands/alerts.ts";
import { registerAgain } from "./commands/again.ts";
import { registerAudit } from "./commands/audit.ts";
import { registerConfig } from "./commands/config.ts";
import { registerDeploy } from "./commands/deploy.ts";
import { registerDeployments } from "./commands/deployments.ts";
import { registerMoves } from "./commands/drain.ts";
import { registerDrift } from "./commands/drift.ts";
import { registerEvents } from "./commands/events.ts";
import { registerExec } from "./commands/exec.ts";
import { registerExplain } from "./commands/explain.ts";
import { registerHealth } from "./commands/health.ts";
import { registerHost } from "./commands/host.ts";
import { registerLifecycle } from "./commands/lifecycle.ts";
import { registerLogs } from "./commands/logs.ts";
import { registerMutate } from "./commands/mutate.ts";
import { registerRollout } from "./commands/rollout.ts";
import { registerService } from "./commands/service.ts";
import { registerStatus } from "./commands/status.ts";
import { registerToken } from "./commands/token.ts";
import { registerTop } from "./commands/top.ts";
import { registerVersion } from "./commands/version.ts";
import { registerWebhook } from "./commands/webhook.ts";
import { PASSTHROUGH_COMMANDS } from "./passthrough.ts";
import type { Act } from "./session.ts";
import { VERSION } from "./version.ts";

export interface GlobalFlags {
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly stateDir?: string;
  readonly allowPlainHttp?: boolean;
  readonly color: boolean;
}

export function createProgram(act: Act, write: { readonly out: (text: string) => void }): Command {
  const program = new Command("skep")
    .description("A control plane for fleets that never lies about what happened.")
    .version(VERSION, "--version", "this program's version")
    .option("--json", "results as JSON on stdout; everything else on stderr")
    .option("--url <url>", "the master's API (SKEP_URL)")
    .option("--token <token>", "an API token; better in SKEP_TOKEN, where other users cannot see it")
    .option("--ca <file>", "trust only this CA for https (SKEP_CA)")
    .option("--state-dir <dir>", "the master that `skep up --state-dir <dir>` runs")
    .option("--allow-plain-http", "send the token over plain HTTP to another machine")
    .option("--no-color", "also NO_COLOR")
    .showHelpAfterError(false)
    .exitOverride()
    // Errors are ours to word (run-cli.ts).
    .configureOutput({ writeOut: write.out, writeErr: () => undefined });
  for (const [name, description] of PASSTHROUGH_COMMANDS) program.command(name).description(description).allowUnknownOption().helpOption(false);
  registerHost(program, act);
  registerDeploy(program, act);
  registerMutate(program, act);
  registerAgain(program, act);
  registerRollout(program, act);
  registerMoves(program, act);
  registerStatus(program, act);
  registerTop(program, act);
  registerDeployments(program, act);
  registerService(program, act);
  registerDrift(program, act);
  registerLifecycle(program, act);
  registerEvents(program, act);
  registerAlerts(program, act);
  registerWebhook(program, act);
  registerLogs(program, act);
  registerExec(program, act);
  registerExplain(program, act);
  registerHealth(program, act);
  registerToken(program, act);
  registerAudit(program, act);
  registerConfig(program, act);
  registerVersion(program, act);
  return program;
}
