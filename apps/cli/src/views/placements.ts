/** Placements: what is wanted beside what was seen. */
import type { PlacementJson } from "@skep/protocol";
import type { Line } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { state } from "./tones.ts";

export const placementTable = (placements: readonly PlacementJson[], columns: number | undefined): Line[] =>
  renderTable(placements, [
    { title: "DEPLOYMENT", cell: (row) => row.deployment },
    { title: "HOST", cell: (row) => row.host },
    { title: "STATE", cell: (row) => state(row.state) },
    { title: "WANTED", cell: (row) => row.desired },
    { title: "GEN", cell: (row) => generationOf(row), align: "right" },
    { title: "PORTS", cell: portsOf },
    { title: "BECAUSE", cell: (row) => row.because, gives: true },
  ], columns);

/** "3", or "2→3" while the host is not there yet. */
const generationOf = ({ applied_generation: applied, generation }: PlacementJson): string => (applied === generation ? String(generation) : `${applied ?? 0}→${generation}`);

function portsOf({ observed }: PlacementJson): string {
  return (observed?.components ?? []).flatMap((component) => Object.entries(component.ports ?? {}).map(([name, port]) => `${component.name}/${name}=${port}`)).join(" ");
}
