/** `skep-sim`: plays seeds and prints what broke, with the command that plays it again. */
import { POLICY_RULES, type PolicyRule } from "@skep/core";
import { without } from "./gate.ts";
import { runSeed } from "./run-seed.ts";

const USAGE = `skep-sim --seed N | --seeds A..B [--without RULE] [--trace]
rules: ${POLICY_RULES.join(", ")}`;

interface Args {
  readonly seeds: readonly number[];
  readonly rule: PolicyRule | undefined;
  readonly trace: boolean;
}

/** `undefined` when the arguments are not understood. */
export function parseArgs(argv: readonly string[]): Args | undefined {
  let seeds: number[] = [];
  let rule: PolicyRule | undefined;
  let trace = false;
  for (let at = 0; at < argv.length; at++) {
    const value = argv[at + 1] ?? "";
    switch (argv[at]) {
      case "--seed":
      case "--seeds": {
        const match = /^(\d+)(?:\.\.(\d+))?$/.exec(value);
        if (match === null) return undefined;
        const first = Number(match[1]);
        seeds = Array.from({ length: Number(match[2] ?? first) - first + 1 }, (_, index) => first + index);
        at += 1;
        break;
      }
      case "--without":
        rule = POLICY_RULES.find((one) => one === value);
        if (rule === undefined) return undefined;
        at += 1;
        break;
      case "--trace":
        trace = true;
        break;
      default:
        return undefined;
    }
  }
  return seeds.length === 0 ? undefined : { seeds, rule, trace };
}

/** Resolves with the exit code: 0 nothing broke, 1 something did, 2 usage. */
export async function runCli(argv: readonly string[], print: (line: string) => void): Promise<number> {
  const args = parseArgs(argv);
  if (args === undefined) {
    print(USAGE);
    return 2;
  }
  const removed = args.rule === undefined ? "" : ` --without ${args.rule}`;
  let bad = 0;
  for (const seed of args.seeds) {
    const result = await runSeed(seed, { policy: without(args.rule), keepTrace: args.trace });
    if (args.trace) for (const line of result.trace) print(line);
    for (const { invariant, atMs, words } of result.violations) print(`seed ${seed}: ${invariant} at ${(atMs / 1000).toFixed(1)} s: ${words}`);
    for (const error of result.errors) print(`seed ${seed}: unexpected error: ${error}`);
    if (result.violations.length + result.errors.length > 0) {
      bad += 1;
      print(`  replay: node apps/e2e/bin/skep-sim.js --seed ${seed}${removed} --trace`);
    } else if (args.seeds.length === 1) print(`seed ${seed}: no violation, ${result.rows} rows in ${result.virtualMs / 1000} s of virtual time, trace ${result.traceHash.slice(0, 16)}`);
  }
  print(`${args.seeds.length} seeds${removed}: ${bad} with violations`);
  return bad === 0 ? 0 : 1;
}
