/** The wait as lines: four on a terminal whatever the fleet's size, one per change into a pipe. Pure. */
import { isTerminal } from "@skep/core";
import type { LifecycleJson, RolloutDetailJson } from "@skep/protocol";
import { toned, type Bit, type Line } from "../text/line.ts";
import { formatDuration } from "../text/time.ts";
import { groupCauses, type Rows, type Tally } from "./tally.ts";

const BAR_COLUMNS = 16;
const NAMED_HOSTS = 3;

export interface Progress {
  readonly title: string;
  readonly ids: readonly string[];
  readonly rows: Rows;
  readonly tally: Tally;
  /** Of a change in place: what its waves have come to. */
  readonly rollout?: RolloutDetailJson | undefined;
  readonly elapsedMs: number;
  /** Something is in the way of knowing more, such as a master that does not answer. */
  readonly trouble: string | undefined;
}

const seen = ({ ids, rows }: Progress): LifecycleJson[] => ids.flatMap((id) => rows.get(id) ?? []);

function counts({ succeeded, failed, cancelled, superseded, open, lost }: Tally): Bit[] {
  return [
    toned(`ok ${succeeded}`, succeeded > 0 ? "good" : "dim"), "  ", toned(`failed ${failed}`, failed > 0 ? "bad" : "dim"), "  ", `open ${open - lost}`,
    ...(lost > 0 ? ["  ", toned(`lost ${lost}`, "warn")] : []),
    ...(cancelled > 0 ? ["  ", toned(`cancelled ${cancelled}`, "warn")] : []),
    ...(superseded > 0 ? ["  ", toned(`superseded ${superseded}`, "warn")] : []),
  ];
}

const hostsOf = (rows: readonly LifecycleJson[]): string => {
  const names = rows.slice(0, NAMED_HOSTS).map((row) => row.host).join(" ");
  return rows.length > NAMED_HOSTS ? `${names} and ${rows.length - NAMED_HOSTS} more` : names;
};

/** Always four: a region that changes its height makes the terminal jump. */
export function progressLines(progress: Progress): Line[] {
  const { title, tally, elapsedMs, trouble } = progress;
  const { done, total } = howFar(progress);
  const filled = total === 0 ? BAR_COLUMNS : Math.floor((done / total) * BAR_COLUMNS);
  const bar = `▕${"█".repeat(filled)}${"░".repeat(BAR_COLUMNS - filled)}▏`;
  return [
    [toned(title, "bold"), ...wave(progress), `  ${bar}  ${done}/${total}  `, ...(progress.rollout === undefined ? counts(tally) : waveCounts(progress.rollout)), `  ${elapsedMs < 1_000 ? "0s" : formatDuration(Math.floor(elapsedMs / 1_000) * 1_000)}`],
    now(progress),
    failures(progress),
    trouble === undefined ? toned("  Ctrl-C detaches; the work goes on", "dim") : toned(`  ${trouble}`, "warn"),
  ];
}

/** A rollout is as far as the gate says, not as far as its rows are: a row that ended is not yet a placement that runs. */
function howFar({ rollout, tally }: Progress): { readonly done: number; readonly total: number } {
  if (rollout === undefined) return { done: tally.total - tally.open, total: tally.total };
  const { counts: of, status } = rollout;
  return rollout.rollback_generation === null || status === "superseded" ? { done: of.passed + of.skipped, total: of.total } : { done: of.taken_back, total: rollout.placements.length };
}

function wave({ rollout }: Progress): Bit[] {
  if (rollout === undefined) return [];
  if (rollout.status === "rolling_back") return ["  ", toned("going back", "bad")];
  return [`  wave ${rollout.wave}/${rollout.waves}`, ...(rollout.status === "paused" ? ["  ", toned("paused", "warn")] : [])];
}

const waveCounts = ({ counts: of }: RolloutDetailJson): Bit[] => [
  toned(`ok ${of.passed}`, of.passed > 0 ? "good" : "dim"), "  ", toned(`failed ${of.refused}`, of.refused > 0 ? "bad" : "dim"), "  ", `open ${of.open}  waiting ${of.waiting}`,
  ...(of.skipped > 0 ? ["  ", toned(`skipped ${of.skipped}`, "warn")] : []), ...(of.left > 0 ? ["  ", toned(`left ${of.left}`, "bad")] : []),
];

function now(progress: Progress): Line {
  const open = seen(progress).filter((row) => !isTerminal(row.status));
  if (open.length === 0 && progress.rollout?.waiting_for != null) return `  now   ${progress.rollout.waiting_for}`;
  if (open.length === 0) return toned("  now   nothing is open", "dim");
  const byPhase = new Map<string, LifecycleJson[]>();
  for (const row of open) {
    const word = row.status === "lost" ? "lost: the host is silent" : row.phase;
    byPhase.set(word, [...(byPhase.get(word) ?? []), row]);
  }
  return `  now   ${[...byPhase].map(([word, rows]) => `${word}: ${hostsOf(rows)}`).join("   ")}`;
}

function failures(progress: Progress): Line {
  const [first, ...more] = groupCauses(seen(progress)).filter((cause) => cause.rows.some((row) => row.status !== "lost"));
  if (first === undefined) return toned("  none failed", "dim");
  return [toned(`  ${first.rows.length}× `, "bad"), first.error, `   ${hostsOf(first.rows)}`, more.length === 0 ? "" : `   and ${more.length} other causes`];
}

/** For a pipe. Equal for two looks exactly when nothing worth a line has changed. */
export function progressWord(progress: Progress): string {
  const { title, ids, rows, tally, trouble, rollout } = progress;
  if (rollout !== undefined) {
    const { counts: of } = rollout;
    const { done, total } = howFar(progress);
    const where = rollout.status === "rolling_back" ? `going back: ${rollout.because}` : `wave ${rollout.wave}/${rollout.waves}${rollout.status === "paused" ? ", paused" : ""}`;
    return `${title}: ${done}/${total}, ok ${of.passed}, failed ${of.refused}, open ${of.open}, waiting ${of.waiting}; ${where}${trouble === undefined ? "" : `; ${trouble}`}`;
  }
  const word = `${title}: ${tally.total - tally.open}/${tally.total} ended, ok ${tally.succeeded}, failed ${tally.failed}, open ${tally.open}${tally.lost > 0 ? ` (${tally.lost} lost)` : ""}`;
  const only = ids.length === 1 ? rows.get(ids[0]!) : undefined;
  const phase = only === undefined || isTerminal(only.status) || only.status === "lost" ? "" : `, ${only.phase} on ${only.host}`;
  return `${word}${phase}${trouble === undefined ? "" : `; ${trouble}`}`;
}

const SHOWN_CAUSES = 8;

/** What did not succeed and how to find out more; nothing where all is well. */
export function causeLines(rows: readonly LifecycleJson[]): Line[] {
  const causes = groupCauses(rows);
  const lines = causes.slice(0, SHOWN_CAUSES).flatMap(({ error, rows: of }): Line[] => [
    [toned(`  ${of.length}× ${of[0]!.status}`, of[0]!.status === "failed" ? "bad" : "warn"), `: ${error}   (${hostsOf(of)})`],
    toned(`     why: skep explain lifecycle ${of[0]!.id}`, "dim"),
  ]);
  return causes.length > SHOWN_CAUSES ? [...lines, `  and ${causes.length - SHOWN_CAUSES} other causes`] : lines;
}
