/** The fleet as counts: the first lines of `skep status` and `skep top`. */
import type { fleetHealth } from "@skep/protocol";
import { toned, type Bit, type Line } from "../text/line.ts";
import { state } from "./tones.ts";

export type FleetHealthJson = ReturnType<(typeof fleetHealth)["parse"]>;

const counts = (of: Readonly<Record<string, number>>): string => Object.entries(of).filter(([, count]) => count > 0).map(([word, count]) => `${count} ${word}`).join(", ");

export const hostsLines = ({ hosts, warm }: FleetHealthJson): Line[] => [hostCounts(hosts), ...(warm ? [] : [toned("  the master has only begun to listen: silence proves nothing yet", "dim")])];
export const openLine = ({ open_rows }: FleetHealthJson): Line => `Open     ${counts(open_rows) || "no operation"}`;

function hostCounts(hosts: Readonly<Record<string, number>>): Line {
  const shown = Object.entries(hosts).filter(([word, count]) => count > 0 && word !== "decommissioned");
  if (shown.length === 0) return "Hosts    none. Add one: skep host add NAME";
  return ["Hosts    ", ...shown.flatMap(([word, count], index): Bit[] => [index === 0 ? "" : ", ", `${count} `, state(word)])];
}
