/** A rollout, with each placement's part in it. */
import type { RolloutDetailJson } from "@skep/protocol";
import { toned, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatTime } from "../text/time.ts";
import { factLines } from "./hosts.ts";
import { state } from "./tones.ts";

/** What was to leave: still to go, or kept because the rest did not come about. */
function leaving({ counts, status, rollback_generation: back }: RolloutDetailJson): string {
  if (counts.leaving === 0 || status === "succeeded" || status === "superseded") return "";
  return back === null && status !== "failed" ? `; ${counts.leaving} to leave once all have passed` : `; ${counts.leaving} that were to leave stay`;
}

export function rolloutLines(rollout: RolloutDetailJson, columns: number | undefined): Line[] {
  const { counts: of, policy } = rollout;
  const back = rollout.base_generation === null ? "nothing to go back to" : rollout.rollback_generation === null ? `generation ${rollout.base_generation}` : `generation ${rollout.base_generation}, as generation ${rollout.rollback_generation}`;
  return [
    ...factLines([
      ["deployment", toned(rollout.deployment, "bold")],
      ["rollout", rollout.id],
      ["status", state(rollout.status)],
      ["because", rollout.because],
      ["waits for", rollout.waiting_for],
      ["change", `${rollout.action}, generation ${rollout.generation}${rollout.components === null ? "" : `, only ${rollout.components.join(" ")}`}`],
      ["back to", back],
      ["wave", `${rollout.wave} of about ${rollout.waves}`],
      ["placements", `${of.total}: ${of.passed} passed, ${of.open} open, ${of.waiting} waiting, ${of.refused} refused, ${of.skipped} skipped${leaving(rollout)}${rollout.rollback_generation === null ? "" : `; ${of.taken_back} taken back, ${of.left} left`}`],
      ["policy", `max parallel ${policy.max_parallel}, healthy for ${policy.min_healthy_s} s, deadline ${policy.progress_deadline_s} s, canary ${policy.canary}, auto promote ${policy.auto_promote ? "on" : "off"}, auto rollback ${policy.auto_rollback ? "on" : "off"}`],
      ["began", formatTime(rollout.created_at)],
      ["ended", formatTime(rollout.completed_at)],
    ]),
    "",
    ...renderTable(rollout.placements, [
      { title: "HOST", cell: (row) => row.host },
      { title: "WAVE", cell: (row) => (row.wave === null ? "" : String(row.wave)), align: "right" },
      { title: "STATE", cell: (row) => state(row.state) },
      { title: "NEW", cell: (row) => (row.arriving ? "yes" : "") },
      { title: "BACK", cell: (row) => (row.rollback === null ? "" : state(row.rollback)) },
      { title: "BECAUSE", cell: (row) => row.because ?? "", gives: true },
    ], columns),
  ];
}
