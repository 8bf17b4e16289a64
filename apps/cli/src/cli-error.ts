/**
 * A failure that is told to a person (or, with --json, to a program): what, why, what to do next, and which exit
 * code it is. Refusals by the API keep the API's own words; these are the CLI's.
 */
import type { FieldError } from "@skep/core";
import { EXIT, exitCodeOf, type ExecExitCode, type ExitCode } from "./exit-codes.ts";
import type { Line } from "./text/line.ts";
import { toned } from "./text/line.ts";

/** `at`: where in the person's own file. */
export interface LocatedError extends FieldError {
  readonly at?: string;
}

export interface CliErrorFacts {
  readonly code: string;
  readonly detail: string;
  readonly exit: ExitCode | ExecExitCode;
  readonly fix: string;
  readonly title?: string;
  readonly errors?: readonly LocatedError[];
  readonly requestId?: string;
  readonly retryAfterMs?: number;
  /** The API's own document, for --json. */
  readonly problem?: unknown;
  readonly cause?: unknown;
}

export class CliError extends Error {
  override readonly name = "CliError";
  readonly facts: CliErrorFacts;
  constructor(facts: CliErrorFacts) {
    super(facts.detail, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.facts = facts;
  }
  get exit(): ExitCode | ExecExitCode {
    return this.facts.exit;
  }
  get code(): string {
    return this.facts.code;
  }
}

export const usageError = (detail: string, fix = "Add --help for what there is.", errors?: readonly LocatedError[]): CliError =>
  new CliError({ code: "usage", detail, exit: EXIT.usage, fix, title: "The command cannot be understood", ...(errors === undefined ? {} : { errors }) });

export const detachedError = (): CliError =>
  new CliError({ code: "interrupted", detail: "Interrupted.", exit: EXIT.detached, fix: "What was asked of the master before may still happen: look with `skep lifecycle --open`.", title: "Interrupted" });

/** A refusal of the API. Tolerant: a proxy's or a newer master's body need not be one of our problems. */
export function refusalError(status: number, body: unknown, retryAfterMs: number | undefined): CliError {
  const problem = Object(body) as Record<string, unknown>;
  const text = (name: string): string | undefined => (typeof problem[name] === "string" && problem[name] !== "" ? problem[name] : undefined);
  const code = text("code") ?? `http_${status}`;
  const errors = Array.isArray(problem["errors"]) ? problem["errors"].filter(isFieldError) : [];
  const requestId = text("request_id");
  const title = text("title");
  return new CliError({
    code,
    detail: text("detail") ?? title ?? `the master answered ${status}`,
    exit: exitCodeOf(status, code),
    fix: text("fix") ?? "Check that the URL is a Skep master's, and the versions of both: skep version.",
    errors,
    ...(title === undefined ? {} : { title }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(text("code") === undefined ? {} : { problem: body }),
  });
}

const isFieldError = (item: unknown): item is FieldError => typeof (Object(item) as FieldError).pointer === "string" && typeof (Object(item) as FieldError).message === "string";

const MAX_SHOWN_ERRORS = 12;

export function errorLines({ facts }: CliError): Line[] {
  const { code, detail, title, fix, errors = [], requestId } = facts;
  const lines: Line[] = [[toned(`Error [${code}]`, "bad"), `: ${detail}`]];
  if (title !== undefined && title !== detail) lines.push(`  Why   ${title}`);
  for (const error of errors.slice(0, MAX_SHOWN_ERRORS)) lines.push(`  At    ${error.at === undefined ? "" : `${error.at} `}${error.pointer === "" ? "/" : error.pointer}: ${error.message}`);
  if (errors.length > MAX_SHOWN_ERRORS) lines.push(`        and ${errors.length - MAX_SHOWN_ERRORS} more`);
  lines.push(`  Fix   ${fix}`);
  if (requestId !== undefined) lines.push(toned(`  Docs  docs/errors.md    request ${requestId}`, "dim"));
  return lines;
}

/** With --json: the API's problem as it came, or ours in the same members. On stderr, so that stdout holds results only. */
export function errorJson({ facts }: CliError): unknown {
  if (facts.problem !== undefined) return facts.problem;
  const { code, detail, title = detail, fix, errors = [], exit } = facts;
  return { type: `urn:skep:cli:${code}`, title, detail, code, retryable: exit === EXIT.unreachable, fix, errors };
}
