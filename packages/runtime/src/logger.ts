/** Structured logs: one JSON line per event. */
import pino from "pino";
import type { DestinationStream } from "pino";
import type { Logger } from "@skep/core";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Which process or part speaks. */
  readonly name: string;
  /** Default: stdout. `stderr` where stdout carries a result for a script. */
  readonly destination?: "stdout" | "stderr" | DestinationStream;
}

export function createLogger(options: LoggerOptions): Logger {
  const { destination = "stdout" } = options;
  const stream = typeof destination === "string" ? pino.destination(destination === "stdout" ? 1 : 2) : destination;
  return pino({ name: options.name, level: options.level }, stream);
}
