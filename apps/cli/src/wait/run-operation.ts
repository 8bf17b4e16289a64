/** What follows an accepted operation, the same for all of them: wait, show, sum up, and end with the right code. */
import { deploymentDetail, type AcceptedOperation } from "@skep/protocol";
import type { Reply } from "../api/client.ts";
import { CliError } from "../cli-error.ts";
import type { ExitCode } from "../exit-codes.ts";
import { EXIT } from "../exit-codes.ts";
import type { Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";
import { placementTable } from "../views/placements.ts";
import { causeLines } from "./render.ts";
import type { Outcome } from "./tally.ts";
import { watchRows, type Watched } from "./watch-rows.ts";

export const DEFAULT_WAIT_S = 600;
/** More ids than this make a command nobody can paste. */
const PASTED_IDS = 4;

export interface WaitOptions {
  readonly wait: boolean;
  readonly timeoutS: number;
}

export async function runOperation(session: Session, verb: string, reply: Reply<AcceptedOperation>, { wait, timeoutS }: WaitOptions): Promise<ExitCode> {
  const { terminal } = session;
  const accepted = reply.data;
  const title = `${verb} ${accepted.name} generation ${accepted.generation}`;
  terminal.say(...accepted.warnings.map((warning): Line => [toned("warning", "warn"), `: ${warning}`]));
  if (!wait) {
    if (session.json) terminal.json(reply.raw);
    else terminal.show(`${title}: accepted on ${hostCount(accepted.lifecycle_ids.length)}`, ...accepted.lifecycle_ids.slice(0, PASTED_IDS).map((id) => `  ${id}`), `  Watch   ${watchCommand(accepted)}`);
    return EXIT.ok;
  }
  const watched = await watchRows(session, { title, ids: accepted.lifecycle_ids, rolloutId: accepted.rollout_id ?? undefined, timeoutS });
  if (session.json) {
    terminal.json({ ...(reply.raw as object), outcome: watched.outcome, rows: watched.rawRows, ...(watched.rollout === undefined ? {} : { rollout: watched.rawRollout }) });
    return watched.exit;
  }
  await sumUp(session, title, accepted, watched);
  return watched.exit;
}

async function sumUp(session: Session, title: string, accepted: AcceptedOperation, watched: Watched): Promise<void> {
  const { terminal } = session;
  switch (watched.outcome) {
    case "succeeded":
      terminal.show([title, ": ", toned("succeeded", "good"), ` on ${hostCount(watched.rows.length)}`]);
      if ((watched.rollout?.counts.skipped ?? 0) > 0) terminal.say([toned("  skipped", "warn"), `: ${watched.rollout!.because}`]);
      await showPlacements(session, accepted);
      return;
    case "rolled_back":
      terminal.show([title, ": ", toned("rolled back", "bad"), ` to the spec of generation ${watched.rollout?.base_generation ?? "?"}`], `  because: ${watched.rollout?.because ?? ""}`, ...causeLines(watched.rows.filter((row) => row.status === "failed")));
      return;
    case "paused":
      terminal.show([title, ": ", toned("paused", "warn"), `: ${watched.rollout?.because ?? ""}`]);
      terminal.say(`  Resume  skep rollout resume ${accepted.name}`, `  Undo    skep rollout abort ${accepted.name}`);
      return;
    case "failed":
      if (watched.rollout !== undefined) terminal.show([title, ": ", toned("failed", "bad")], `  because: ${watched.rollout.because}`, ...causeLines(watched.rows));
      else terminal.show([title, ": ", toned("failed", "bad")], ...causeLines(watched.rows));
      return;
    case "cancelled":
    case "superseded":
      terminal.show([title, ": ", toned(watched.outcome, "bad")], ...causeLines(watched.rows));
      return;
    case "undecided":
      terminal.show([title, ": ", toned("outcome unknown", "warn"), ": the hosts that have not ended it are silent"], ...causeLines(watched.rows));
      terminal.say("  When a host returns, its rows tell the truth by themselves. If one never will: skep lifecycle resolve ID --host-lost", `  Watch   ${watchCommand(accepted)}`);
      return;
    case "timed_out":
    case "unreachable":
    case "detached":
      terminal.say([toned(CUT[watched.outcome], "warn")], `  Watch   ${watchCommand(accepted)}`, `  Cancel  ${cancelCommand(accepted)}`);
      return;
  }
}

const CUT: Readonly<Record<Extract<Outcome, "timed_out" | "unreachable" | "detached">, string>> = {
  timed_out: "The wait is over, the work is not: it goes on.",
  unreachable: "The master does not answer. What was accepted is in its database; the outcome is not known here.",
  detached: "Detached. The work goes on.",
};

const hostCount = (length: number): string => (length === 1 ? "1 host" : `${length} hosts`);
const watchCommand = ({ name, rollout_id: rollout, lifecycle_ids: ids }: AcceptedOperation): string => rollout !== null ? `skep rollout status ${name} --watch` : (ids.length <= PASTED_IDS ? `skep lifecycle ${ids.join(" ")} --watch` : `skep lifecycle --deployment ${name} --open --watch`);
const cancelCommand = ({ name, rollout_id: rollout, lifecycle_ids: ids }: AcceptedOperation): string => rollout !== null ? `skep rollout abort ${name}` : (ids.length <= PASTED_IDS ? `skep lifecycle cancel ${ids.join(" ")}` : `skep lifecycle cancel ID (the ids: skep lifecycle --deployment ${name} --open)`);

/** A courtesy: the operation has succeeded whether or not this can be shown. */
async function showPlacements(session: Session, accepted: AcceptedOperation): Promise<void> {
  try {
    const { data } = await session.api.call("getDeployment", deploymentDetail, { params: { deployment: accepted.deployment_id } });
    if (data.placements.length > 0 && data.deleted_at === null) session.terminal.show(...placementTable(data.placements, session.terminal.columns));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
  }
}
