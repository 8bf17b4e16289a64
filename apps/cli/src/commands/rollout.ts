/** `skep rollout`: how far a change in place is, and a person's word on it. */
import { Option, type Command } from "commander";
import { isOpenRollout } from "@skep/core";
import { deploymentDetail, rolloutDetail, rolloutReply } from "@skep/protocol";
import { CliError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { duration, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { rolloutLines } from "../views/rollouts.ts";
import { state } from "../views/tones.ts";
import { DEFAULT_WAIT_S } from "../wait/run-operation.ts";
import { watchRows } from "../wait/watch-rows.ts";

interface StatusFlags {
  readonly watch?: boolean;
  readonly timeout: number;
}

const ROUTES = { pause: "pauseRollout", resume: "resumeRollout", abort: "abortRollout" } as const;
const WORDS = { pause: "open no further wave until resumed", resume: "go on, after a pause or after the canary", abort: "go back to the generation before, now" } as const;

export function registerRollout(program: Command, act: Act): void {
  const rollout = program.command("rollout").description("a change in place, wave by wave: status, pause, resume, abort");

  rollout.command("status").description("the open rollout of a deployment, or the last one; --watch waits until it has ended").argument("<deployment>", "name or id", ref)
    .option("--watch", "wait until it has ended or is paused")
    .addOption(new Option("--timeout <duration>", "with --watch: how long; 0 = as long as it takes").default(DEFAULT_WAIT_S, "10m").argParser(duration(0, 30 * 86_400)))
    .action(act(status));

  for (const word of ["pause", "resume", "abort"] as const) {
    rollout.command(word).description(WORDS[word]).argument("<deployment>", "name or id", ref)
      .action(act(async ({ api, json, terminal }, deployment: string) => {
        const { data, raw } = await api.call(ROUTES[word], rolloutReply, { params: { deployment }, body: {} });
        if (json) terminal.json(raw);
        else terminal.show([`rollout of ${deployment}: `, state(data.status), `  ${data.because}`]);
      }));
  }
}

async function status(session: Session, deployment: string, flags: StatusFlags): Promise<ExitCode> {
  const { api, json, terminal } = session;
  const { data: detail } = await api.call("getDeployment", deploymentDetail, { params: { deployment } });
  if (detail.rollout === null) throw new CliError({ code: "rollout_not_found", detail: `${deployment} has had no rollout.`, exit: EXIT.notFound, fix: "A rollout begins with a change in place: skep mutate, redeploy, rollback, or deploy --replace." });
  const { id, generation, action } = detail.rollout;
  if (flags.watch === true && isOpenRollout(detail.rollout.status)) {
    const { outcome, exit, rollout, rawRollout } = await watchRows(session, { title: `${action} ${detail.name} generation ${generation}`, ids: [], rolloutId: id, timeoutS: flags.timeout });
    if (json) terminal.json({ outcome, rollout: rawRollout });
    else terminal.show([`${detail.name} generation ${generation}: `, state(outcome), rollout === undefined ? "" : `  ${rollout.because}`]);
    return exit;
  }
  const { data, raw } = await api.call("getRollout", rolloutDetail, { params: { rollout: id } });
  if (json) terminal.json(raw);
  else terminal.show(...rolloutLines(data, terminal.columns));
  return EXIT.ok;
}
