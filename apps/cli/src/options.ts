/** Values typed on the command line. A wrong one is a usage error that says what would be right. */
import { InvalidArgumentError } from "commander";
import { isName } from "@skep/core";
import { parseBytes, parseNumber } from "./compose/units.ts";
import { parseDurationS } from "./text/time.ts";

export function duration(minS: number, maxS: number): (text: string) => number {
  return (text) => {
    const seconds = parseDurationS(text);
    if (seconds === undefined || seconds < minS || seconds > maxS) throw new InvalidArgumentError(`Give a duration such as 90s, 15m or 24h, from ${minS}s to ${maxS}s.`);
    return seconds;
  };
}

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    if (!/^\d{1,15}$/.test(text) || Number(text) < min || Number(text) > max) throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
    return Number(text);
  };
}

export function oneOf<T extends string>(values: readonly T[]): (text: string) => T {
  return (text) => {
    const found = values.find((value) => value === text);
    if (found === undefined) throw new InvalidArgumentError(`Give one of ${values.join(", ")}.`);
    return found;
  };
}

/** "512m" → bytes. */
export function size(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new InvalidArgumentError("Give a size such as 512m or 1g.");
  return bytes;
}

export function processors(text: string): number {
  const count = parseNumber(text);
  if (count === undefined || count < 0.01 || count > 1_024) throw new InvalidArgumentError("Give a number of processors such as 0.5 or 2.");
  return count;
}

/** Names and ids alike: what the API takes for either. */
export function ref(text: string): string {
  if (!isName(text)) throw new InvalidArgumentError("A name is 1 to 63 of a-z, 0-9 and '-', not starting with '-'.");
  return text;
}

/** `k=v`, collected over repetitions. */
export function pair(what: string): (text: string, before?: Readonly<Record<string, string>>) => Record<string, string> {
  return (text, before = {}) => {
    const at = text.indexOf("=");
    if (at < 1) throw new InvalidArgumentError(`Give ${what} as NAME=VALUE.`);
    return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  };
}

/** `k=v`, collected; the same name again makes a list of its values. */
export function anyOf(what: string): (text: string, before?: Readonly<Record<string, string | string[]>>) => Record<string, string | string[]> {
  const one = pair(what);
  return (text, before = {}) => {
    const [[name, value]] = Object.entries(one(text)) as [[string, string]];
    const earlier = Object.hasOwn(before, name) ? [before[name]!].flat() : [];
    return { ...before, [name]: earlier.length === 0 ? value : [...earlier, value] };
  };
}

export const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];
export const collectRefs = (text: string, before: readonly string[] = []): string[] => [...before, ref(text)];
