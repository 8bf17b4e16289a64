/** What a person is told once everything runs: where it is, and what to type next. */
import type { UpConfig } from "./config.ts";
import type { ContextOutcome } from "./cli-context.ts";
import type { Started } from "./create-stack.ts";
import type { Layout } from "./layout.ts";

export interface Announcement {
  readonly layout: Layout;
  readonly config: UpConfig;
  readonly started: Started;
  readonly context: ContextOutcome;
}

export function announceReady(say: (line: string) => void, { layout, config, started, context }: Announcement): void {
  const { facts, sample } = started;
  if (sample !== undefined) {
    say(`${sample.running ? "✓" : "✗"} sample      ${sample.name}${sample.running ? "" : " does not run:"}`);
    for (const line of sample.lines) say(`              ${line}`);
  }
  // With --json the token is on stdout; twice would put it into the log of whoever collects stderr.
  if (!config.json) say(started.firstStart ? `✓ token       ${facts.token}  (admin; kept in ${layout.adminToken})` : `✓ token       kept in ${layout.adminToken}`);
  const via = context === "saved" ? "" : ` --state-dir ${quote(layout.dir)}`;
  if (!started.firstStart) say(`· resumed     what was running and is not is started again within a heartbeat interval or two`);
  if (context === "foreign") say(`! context     ${config.contextFile} belongs to another master and was left alone: use --state-dir`);
  say("");
  say("Next:");
  const next = [
    ["status", "the fleet, what needs attention first"],
    ...(sample?.running === true ? [[`logs ${sample.name} -f`, "follow the sample's output"]] : []),
    ["deploy -f samples/hello.json --name mine", "the sample again, as yours"],
    ["host add web-01", "enrol a real host"],
  ];
  for (const [command, what] of next) say(`  npx skep${via} ${command!.padEnd(42)} ${what}`);
  say(`Ctrl-C stops everything this started; the next start resumes it. Logs: ${layout.logs}`);
}

const quote = (path: string): string => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`);
