/** Drains, moves and rebalancing. */
import type { Instant } from "@skep/core";
import type { DrainJson, MoveJson, RebalanceReply } from "@skep/protocol";
import { toned, type Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatAge, formatTime } from "../text/time.ts";
import { factLines } from "./hosts.ts";
import { state } from "./tones.ts";

export function drainTable(placements: DrainJson["placements"], columns: number | undefined): Line[] {
  if (placements.length === 0) return [];
  const held = placements.filter((item) => item.next !== null);
  return [
    ...renderTable(placements, [
      { title: "DEPLOYMENT", cell: (row) => row.deployment },
      { title: "STATE", cell: (row) => state(row.state) },
      { title: "TO", cell: (row) => row.to_host ?? "" },
      { title: "BECAUSE", cell: (row) => row.because, gives: true },
    ], columns),
    ...held.map((item): Line => [toned(`${item.deployment}: `, "warn"), item.next!]),
  ];
}

export const drainLines = (drain: DrainJson, columns: number | undefined): Line[] => [
  ...factLines([
    ["host", toned(drain.host, "bold")],
    ["drain", state(drain.status)],
    ["because", drain.because],
    ["pinned", drain.stop_pinned ? "are stopped" : null],
    ["began", formatTime(drain.created_at)],
    ["ended", formatTime(drain.completed_at)],
  ]),
  ...(drain.placements.length === 0 ? [] : ["", ...drainTable(drain.placements, columns)]),
];

export const moveTable = (moves: readonly MoveJson[], now: Instant, columns: number | undefined): Line[] =>
  renderTable(moves, [
    { title: "DEPLOYMENT", cell: (row) => row.deployment },
    { title: "FROM", cell: (row) => row.from_host },
    { title: "TO", cell: (row) => row.to_host },
    { title: "STATUS", cell: (row) => state(row.status) },
    { title: "WHY", cell: (row) => row.reason },
    { title: "CHANGED", cell: (row) => formatAge(row.updated_at, now), align: "right" },
    { title: "BECAUSE", cell: (row) => row.because, gives: true },
    { title: "ID", cell: (row) => row.id },
  ], columns);

export function rebalanceLines(reply: RebalanceReply, columns: number | undefined): Line[] {
  const { moves, hosts, left_out: leftOut } = reply;
  const words = reply.status === "accepted" ? "they begin as their turn comes; follow them: skep move ls --open" : "a plan, nothing was changed";
  return [
    moves.length === 0 ? "The load is as even as it can be; nothing moves." : `${moves.length === 1 ? "1 placement moves" : `${moves.length} placements move`}; ${words}`,
    ...(moves.length === 0 ? [] : renderTable(moves, [
      { title: "DEPLOYMENT", cell: (row) => row.deployment },
      { title: "FROM", cell: (row) => row.from_host },
      { title: "TO", cell: (row) => row.to_host },
    ], columns)),
    ...renderTable(hosts, [
      { title: "HOST", cell: (row) => row.host },
      { title: "BEFORE", cell: (row) => String(row.before), align: "right" },
      { title: "AFTER", cell: (row) => String(row.after), align: "right" },
    ], columns),
    ...leftOut.map((item): Line => [toned("left out", "dim"), ` ${item.deployment}: ${item.because}`]),
  ];
}
