/** The options that every operation on a deployment shares. */
import { InvalidArgumentError, Option, type Command } from "commander";
import { UPDATE_ORDERS, type UpdateOrder } from "@skep/core";
import type { RolloutRequest } from "@skep/protocol";
import { duration, integer, oneOf } from "../options.ts";
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

/** How carefully a change in place goes through the placements. */
export interface RolloutFlags {
  readonly maxParallel?: number | string;
  readonly minHealthy?: number;
  readonly progressDeadline?: number;
  readonly canary?: number;
  readonly autoPromote: boolean;
  readonly autoRollback: boolean;
  readonly order?: UpdateOrder;
}

export const withRollout = (command: Command): Command =>
  command
    .addOption(new Option("--max-parallel <n|n%>", "hosts between versions at once (a quarter)").argParser(share))
    .addOption(new Option("--min-healthy <duration>", "how long each must run before it counts").argParser(duration(0, DAY_S)))
    .addOption(new Option("--progress-deadline <duration>", "how long nothing may move (10m)").argParser(duration(1, DAY_S)))
    .option("--canary <n>", "size of the first wave", integer(0, 1_000))
    .option("--no-auto-promote", "stop after the canary until resumed")
    .option("--no-auto-rollback", "when it fails, stay as it stands")
    .option("--order <order>", `how a component gives way: ${UPDATE_ORDERS.join(" or ")}`, oneOf(UPDATE_ORDERS));

/** What is typed wins over what a file says of the same. */
export function rolloutOf(flags: RolloutFlags, before?: unknown): { rollout?: RolloutRequest } {
  const given: RolloutRequest = {
    ...(flags.maxParallel === undefined ? {} : { max_parallel: flags.maxParallel }),
    ...(flags.minHealthy === undefined ? {} : { min_healthy_s: flags.minHealthy }),
    ...(flags.progressDeadline === undefined ? {} : { progress_deadline_s: flags.progressDeadline }),
    ...(flags.canary === undefined ? {} : { canary: flags.canary }),
    ...(flags.autoPromote ? {} : { auto_promote: false }),
    ...(flags.autoRollback ? {} : { auto_rollback: false }),
    ...(flags.order === undefined ? {} : { order: flags.order }),
  };
  return Object.keys(given).length === 0 ? {} : { rollout: { ...(Object(before) as RolloutRequest), ...given } };
}

function share(text: string): number | string {
  if (/^([1-9][0-9]?|100)%$/.test(text)) return text;
  if (/^[1-9][0-9]{0,2}$|^1000$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number from 1 to 1000, or a share from 1% to 100%.");
}
