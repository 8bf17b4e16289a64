/** What must not be written, with the reason and a case that each ban rejects. */
import { expect, test } from "vitest";
import { codeOnly, isTest, readSources, type Source } from "./sources.ts";

interface Ban {
  readonly name: string;
  readonly pattern: RegExp;
  readonly reason: string;
  readonly allowed: (path: string) => boolean;
  readonly red: string;
  readonly raw?: boolean;
}

const runtime = (path: string): boolean => path.startsWith("packages/runtime/");
const runner = (path: string): boolean => path.startsWith("apps/agent/src/runner/");
const bench = (path: string): boolean => path.startsWith("apps/bench/");
const never = (): boolean => false;

const BANS: readonly Ban[] = [
  { name: "wall clock", pattern: /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|process\.hrtime/, reason: "time is an argument: take a Clock", allowed: (path) => runtime(path) || runner(path) || bench(path) || isTest(path), red: "const t = Date.now();" },
  { name: "ambient chance", pattern: /\bMath\.random\(/, reason: "chance is an argument: take an Rng", allowed: (path) => runtime(path) || runner(path), red: "const r = Math.random();" },
  { name: "timers", pattern: /(?<![.\w])set(?:Timeout|Interval)\(|timers\/promises/, reason: "timers belong to the Clock; in tests, wait on a condition", allowed: (path) => runtime(path) || runner(path) || bench(path) || path.startsWith("packages/testkit/"), red: "setTimeout(() => go(), 100);" },
  { name: "process.env", pattern: /\bprocess\.env\b/, reason: "configuration is parsed once, in config.ts", allowed: (path) => /\/config(?:\/[\w-]+)?\.ts$/.test(path) || isTest(path) || path.startsWith("packages/testkit/") || bench(path) || path.startsWith("apps/e2e/"), red: "const x = process.env.HOME;" },
  { name: "shell", pattern: /(?<![.\w])exec(?:Sync)?\(|child_process\.exec(?:Sync)?\(|\bexecSync\(|shell:\s*true/, reason: "no shell anywhere: spawn with an argv", allowed: (path) => isTest(path), red: 'spawn("sh", { shell: true });' },
  { name: "module mocks", pattern: /\bvi\.mock\(|\bjest\.mock\(/, reason: "fakes are the real thing plus a fault", allowed: never, red: 'vi.mock("./x.ts");' },
  { name: "skipped or focused tests", pattern: /\b(?:test|it|describe)\.(?:only|todo)\(|\b(?:test|it|describe)\.skip\(/, reason: "a skipped test counted as passed is a lie; use skipIf with a loud reason", allowed: never, red: 'test.only("x", () => {});' },
  { name: "raw SQL text", pattern: /\bsql\.raw\(/, reason: "parameters only; identifiers from drizzle's tables", // These hold constant text only: the planner uses a partial index for literals, not for parameters.
    allowed: (path) => ["beats", "lifecycle-row", "migrate"].some((name) => path === `packages/store/src/${name}.ts`) || isTest(path), red: "sql.raw(`select ${x}`);" },
  { name: "unfinished work", pattern: /\bTODO\b|\bFIXME\b|\bXXX\b/, reason: "an issue, or a reason, or the work itself", allowed: never, red: "// TODO later", raw: true },
];

export function violations(source: Source): string[] {
  const code = codeOnly(source.text, isTest(source.path));
  return BANS.filter((ban) => !ban.allowed(source.path) && ban.pattern.test(ban.raw === true ? source.text : code)).map((ban) => `${source.path}: ${ban.name}: ${ban.reason}`);
}

test("nothing banned is written", () => {
  expect(readSources().flatMap(violations)).toEqual([]);
});

test.each(BANS.map((ban) => [ban.name, ban.red] as const))("the ban on %s rejects its case", (name, red) => {
  expect(violations({ path: "apps/master/src/anything.ts", text: red })).toEqual([expect.stringContaining(name)]);
});
