/**
 * Structured logs: one JSON line per event, written before the call returns, so that the last line before a crash is
 * there to be read. Invariant: no secret and no bound value of a statement passes (see redact.ts).
 */
import pino from "pino";
import type { DestinationStream } from "pino";
import type { Logger } from "@skep/core";
import { redact, redactText } from "./redact.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Which process or part speaks. */
  readonly name: string;
  /** Default: stdout. `stderr` where stdout carries a result for a script. */
  readonly destination?: "stdout" | "stderr" | DestinationStream;
}

export function createLogger(options: LoggerOptions): Logger {
  const { destination = "stdout" } = options;
  const stream = typeof destination === "string" ? pino.destination({ dest: destination === "stdout" ? 1 : 2, sync: true }) : destination;
  const redactFields = (fields: object): Record<string, unknown> => redact(fields) as Record<string, unknown>;
  const logger = pino(
    {
      name: options.name,
      level: options.level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), bindings: redactFields, log: redactFields },
      // redact() has made plain facts of the error already; pino's own serializer would copy every property.
      serializers: { err: (facts: unknown) => facts },
      hooks: { streamWrite: redactText },
    },
    stream,
  );
  // Pino formats the root's bindings only, and grandchildren inherit from the root: one override guards them all.
  const makeChild = logger.child;
  logger.child = function (this: typeof logger, bindings: object, ...rest: never[]) {
    return makeChild.call(this, redactFields(bindings), ...rest);
  } as typeof logger.child;
  return logger;
}
