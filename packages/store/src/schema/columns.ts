/**
 * Column types where a plain one would lie: instants as Unix milliseconds, counters as exact integers, and text and
 * JSON that PostgreSQL will take whatever an agent wrote (one NUL in one report must not cost a batch of 500).
 */
import { instant } from "@skep/core";
import type { Instant } from "@skep/core";
import { sql } from "drizzle-orm";
import { bigint, customType } from "drizzle-orm/pg-core";

/** timestamptz ↔ Instant. Microseconds are cut off: never compare-and-set on a time, only on a `version`. */
export const at = customType<{ data: Instant; driverData: string }>({
  dataType: () => "timestamptz",
  fromDriver: (value) => parseInstant(value),
  toDriver: (value) => new Date(value).toISOString(),
});

/** A row's time in ISO style with any UTC offset, as the sessions of our pools write it. */
export const parseInstant = (text: string): Instant => instant(new Date(text).getTime());

/** The domain `counter`: 0 … 2^53−1, so that a number read is the number stored. */
export const counter = (name: string) => bigint(name, { mode: "number" });

/** xid8: wider than a JavaScript number, and only ever compared by the database. */
export const xid8 = customType<{ data: string; driverData: string }>({ dataType: () => "xid8" });

/** Text that may hold what somebody else wrote. */
export const freeText = customType<{ data: string; driverData: string }>({
  dataType: () => "text",
  toDriver: (value) => cleanText(value),
});

/** jsonb of the given shape. Written by us alone, so it is not parsed again on the way out. */
export const json = <T>(name: string) =>
  customType<{ data: T; driverData: unknown }>({
    dataType: () => "jsonb",
    toDriver: (value) => toJson(value),
    fromDriver: (value) => value as T,
  })(name);

/** PostgreSQL has no NUL in text; U+FFFD says that something was there. */
export const cleanText = (value: string): string => (value.includes("\0") ? value.replaceAll("\0", "\uFFFD") : value);

/** JSON that jsonb accepts: NULs and lone surrogates become U+FFFD, and only then is the slow path taken. */
export function toJson(value: unknown): string {
  const text = JSON.stringify(value);
  return /\\u(?:0000|d[89a-f])/i.test(text) ? JSON.stringify(cleanDeep(value)) : text;
}

function cleanDeep(value: unknown): unknown {
  if (typeof value === "string") return cleanText(replaceLoneSurrogates(value));
  if (Array.isArray(value)) return value.map(cleanDeep);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [cleanText(replaceLoneSurrogates(key)), cleanDeep(item)]));
}

const replaceLoneSurrogates = (value: string): string => value.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");

/** The start of the transaction, by the database's clock: the only one decisions use. */
export const NOW = sql`now()`;
