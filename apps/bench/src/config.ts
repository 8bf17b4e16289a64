/** What was asked for on the command line, and how large each measurement is because of it. */
import { parseArgs } from "node:util";

export const GROUPS = ["P1", "P2", "P3", "P5", "P6", "P7", "P8", "P9", "P11", "P14", "METRICS", "P15"] as const;
export type Group = (typeof GROUPS)[number];

/** Small enough for two cores and four minutes when quick; the sizes that the targets name otherwise. */
export interface Sizes {
  readonly rounds: number;
  /** Connections of P1–P3 and listeners of P5. */
  readonly agents: number;
  /** Beats of one agent in one round: below the per-host burst of the master, so that nothing has to be raised. */
  readonly beatsPerRound: number;
  readonly deltas: number;
  readonly requests: number;
  /** Terminal rows behind the open ones of P8. */
  readonly sweepRows: readonly number[];
  readonly openRows: number;
  /** Hosts of P9, smallest first. */
  readonly hosts: readonly number[];
  /** Hosts of METRICS. */
  readonly scrapedHosts: number;
  /** P15. */
  readonly probedHosts: number;
  readonly probeIntervalMs: number;
  readonly probePeriods: number;
  /** P14 from a clone, or only `npm start`. */
  readonly fromClone: boolean;
}

const FULL: Sizes = { rounds: 5, agents: 1_000, beatsPerRound: 10, deltas: 60, requests: 60, sweepRows: [10_000, 100_000, 1_000_000], openRows: 2_000, hosts: [1_000, 10_000, 100_000], scrapedHosts: 5_000, probedHosts: 2_000, probeIntervalMs: 30_000, probePeriods: 4, fromClone: true };
const QUICK: Sizes = { rounds: 3, agents: 300, beatsPerRound: 10, deltas: 30, requests: 40, sweepRows: [1_000, 10_000, 100_000], openRows: 500, hosts: [300, 3_000, 30_000], scrapedHosts: 5_000, probedHosts: 300, probeIntervalMs: 10_000, probePeriods: 3, fromClone: false };

export interface BenchConfig {
  readonly quick: boolean;
  readonly output: "text" | "json" | "markdown";
  readonly only: ReadonlySet<Group>;
  /** Where the masters write their CPU profiles; undefined = none is taken, and nothing is slowed down by it. */
  readonly profileDir: string | undefined;
  readonly sizes: Sizes;
}

export const USAGE = `npm run bench -- [options]: each row beside its reference, in the same run

  --quick            smaller sizes, under four minutes on two cores
  --only P1,P3       these rows; there are ${GROUPS.join(", ")}
  --json             {"rows": [...]} on stdout
  --markdown         the section that docs/performance.md holds
  --profile DIR      also let every master write a CPU profile into DIR (slower, so not for the record)
`;

/** A text is what is wrong with the arguments. */
export function parseConfig(argv: readonly string[]): BenchConfig | "help" | { readonly wrong: string } {
  try {
    const { values } = parseArgs({ args: [...argv], options: { quick: { type: "boolean" }, json: { type: "boolean" }, markdown: { type: "boolean" }, only: { type: "string" }, profile: { type: "string" }, help: { type: "boolean" } }, strict: true, allowPositionals: false });
    if (values.help === true) return "help";
    if (values.json === true && values.markdown === true) return { wrong: "--json or --markdown, not both" };
    const asked = values.only === undefined ? [...GROUPS] : values.only.split(",").map((name) => name.trim().toUpperCase());
    const unknown = asked.filter((name) => !(GROUPS as readonly string[]).includes(name));
    if (unknown.length > 0) return { wrong: `--only: there is no row ${unknown.join(", ")}; there are ${GROUPS.join(", ")}` };
    const quick = values.quick === true;
    return {
      quick, only: new Set(asked as Group[]), profileDir: values.profile, sizes: quick ? QUICK : FULL,
      output: values.json === true ? "json" : values.markdown === true ? "markdown" : "text",
    };
  } catch (error) {
    return { wrong: (error as Error).message };
  }
}
