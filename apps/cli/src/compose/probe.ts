/** `healthcheck` as an exec probe: it runs in the container, as Compose's does; a shell it asks for is the container's. */
import type { ProbeSpec } from "@skep/core";
import type { Context } from "./context.ts";
import { checkKeys } from "./keys.ts";
import { child } from "./read.ts";
import type { MapTree } from "./tree.ts";

/** Compose's defaults. Skep's own are shorter, and a file that relies on these would fail under them. */
const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 30_000;
const RETRIES = 3;

export function readProbe({ reader, notes }: Context, service: MapTree): ProbeSpec | undefined {
  const tree = child(service, "healthcheck");
  const map = reader.map(tree);
  if (tree === undefined || map === undefined) return undefined;
  checkKeys(notes, map, "healthcheck");
  if (reader.boolean(child(map, "disable")) === true) return undefined;
  const test = child(map, "test");
  const interval = reader.durationMs(child(map, "interval")) ?? INTERVAL_MS;
  const timeout = reader.durationMs(child(map, "timeout")) ?? TIMEOUT_MS;
  const retries = reader.integer(child(map, "retries"), 1, 100) ?? RETRIES;
  const startPeriod = reader.durationMs(child(map, "start_period"));
  const startInterval = child(map, "start_interval");
  if (startInterval !== undefined) {
    reader.durationMs(startInterval);
    notes.warn(startInterval, "start_interval has no effect: Skep probes at one interval from the start");
  }
  if (test === undefined) return reader.refuse("unsupported_value", tree, "a healthcheck needs its test here: what the image brings is not looked into");
  const command = commandOf(reader.texts(test).map(({ text }) => text), test.kind === "list");
  if (command === undefined) return reader.refuse("bad_value", test, "a test is text for a shell, or a list that begins with CMD, CMD-SHELL or NONE");
  if (command === "none") return undefined;
  return { type: "exec", command, interval_ms: interval, timeout_ms: timeout, success_threshold: 1, failure_threshold: retries, ...(startPeriod === undefined ? {} : { start_period_ms: startPeriod }) };
}

function commandOf(words: readonly string[], isList: boolean): readonly string[] | "none" | undefined {
  const [first, ...rest] = isList ? words : ["CMD-SHELL", ...words];
  if (first === "NONE" && rest.length === 0) return "none";
  if (first === "CMD" && rest.length > 0) return rest;
  return first === "CMD-SHELL" && rest.length === 1 && rest[0]!.trim() !== "" ? ["/bin/sh", "-c", rest[0]!] : undefined;
}
