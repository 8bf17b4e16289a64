/** The options that every operation on a deployment shares. */
import { Option, type Command } from "commander";
import { duration } from "../options.ts";
import { DEFAULT_WAIT_S, type WaitOptions } from "../wait/run-operation.ts";

export interface OperationFlags {
  readonly wait: boolean;
  readonly timeout: number;
  readonly jobTimeout?: number;
}

const DAY_S = 86_400;

export const withWaiting = (command: Command): Command =>
  command
    .addOption(new Option("--wait", "wait until it has ended everywhere (the default)").default(true).hideHelp())
    .option("--no-wait", "return as soon as it is accepted")
    .addOption(new Option("--timeout <duration>", "how long to wait; 0 = as long as it takes").default(DEFAULT_WAIT_S, "10m").argParser(duration(0, 30 * DAY_S)));

export const withOperation = (command: Command): Command =>
  withWaiting(command).addOption(new Option("--job-timeout <duration>", "how long a host may work on it").argParser(duration(1, DAY_S)));

export const waitOf = ({ wait, timeout }: OperationFlags): WaitOptions => ({ wait, timeoutS: timeout });
export const timeoutOf = ({ jobTimeout }: OperationFlags): { timeout_s?: number } => (jobTimeout === undefined ? {} : { timeout_s: jobTimeout });
