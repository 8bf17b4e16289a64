/**
 * `npm run bench`: runs the rows that were asked for, each on a stage of its own, and prints what came out. Exit 0 when
 * every row was measured, whatever its ratio; 1 when one could not be; 2 for arguments that are not understood.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSql } from "@skep/store/server";
import { parseConfig, USAGE, type BenchConfig, type Group } from "./config.ts";
import { machineFacts } from "./report/machine.ts";
import { toJson, toMarkdown, toText } from "./report/print.ts";
import { broken, type Row } from "./report/row.ts";
import { measureContainers } from "./rows/containers.ts";
import { measureDelta } from "./rows/delta.ts";
import { measureFanOut } from "./rows/fan-out.ts";
import { measureInstall } from "./rows/install.ts";
import { measureMemory } from "./rows/memory.ts";
import { measureMetrics } from "./rows/metrics.ts";
import { measureProbing } from "./rows/probing.ts";
import { measureQueries } from "./rows/queries.ts";
import { measureSweep } from "./rows/sweep.ts";
import { measureWire } from "./rows/wire.ts";
import { openBench, wordsOf, type Bench } from "./stage/bench.ts";

/** What is measured together, in the order of the report. */
const MEASUREMENTS: readonly { readonly groups: readonly Group[]; readonly measure: (bench: Bench) => Promise<Row[]> }[] = [
  { groups: ["P1", "P2", "P3"], measure: measureWire },
  { groups: ["P5"], measure: measureFanOut },
  { groups: ["P6"], measure: measureDelta },
  { groups: ["P7"], measure: measureContainers },
  { groups: ["P8"], measure: measureSweep },
  { groups: ["P9"], measure: measureQueries },
  { groups: ["P11"], measure: measureMemory },
  { groups: ["P14"], measure: measureInstall },
  { groups: ["METRICS"], measure: measureMetrics },
  { groups: ["P15"], measure: measureProbing },
];

/** Resolves with the exit code. Progress goes to stderr, the report to stdout. */
export async function main(argv: readonly string[]): Promise<number> {
  const config = parseConfig(argv);
  if (config === "help") {
    process.stdout.write(USAGE);
    return 0;
  }
  if ("wrong" in config) {
    process.stderr.write(`bench: ${config.wrong}\n\n${USAGE}`);
    return 2;
  }
  const dir = mkdtempSync(join(tmpdir(), "skep-bench-"));
  // Ctrl-C runs the exit handlers, which end every child.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  return run(config, dir);
}

async function run(config: BenchConfig, dir: string): Promise<number> {
  const started = performance.now();
  const say = (line: string): void => void process.stderr.write(`${((performance.now() - started) / 1_000).toFixed(0).padStart(4)} s  ${line}\n`);
  const bench = await openBench(config, dir, say);
  try {
    const version = (await runSql(bench.postgres.url, "SELECT current_setting('server_version') AS v"))[0] as { readonly v: string };
    const facts = machineFacts(`PostgreSQL ${version.v} (embedded)`, config.quick);
    const rows: Row[] = [];
    for (const { groups, measure } of MEASUREMENTS) {
      const wanted = groups.filter((group) => config.only.has(group));
      if (wanted.length === 0) continue;
      try {
        rows.push(...(await measure(bench)).filter((row) => wanted.some((group) => row.name.startsWith(`${group} `))));
      } catch (error) {
        say(`${groups.join(", ")}: ${error instanceof Error ? error.stack : String(error)}`);
        rows.push(...wanted.map((group) => broken(group, "–", wordsOf(error))));
      }
    }
    facts.push(`it took ${((performance.now() - started) / 1_000).toFixed(0)} s`);
    process.stdout.write(config.output === "json" ? `${JSON.stringify(toJson(rows))}\n` : config.output === "markdown" ? toMarkdown(rows, facts) : toText(rows, facts));
    return rows.some((row) => row.value === null) ? 1 : 0;
  } finally {
    await bench.postgres.stop();
  }
}
