/** What can go wrong with a call, in two kinds: the engine said no (and why), or nothing is known. */
import { DriverError, RUNTIME_UNAVAILABLE } from "@skep/core";

/** An answer that is a refusal. `message` is the engine's own words. */
export class EngineRefusal extends Error {
  override readonly name = "EngineRefusal";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Nothing is known: not reachable, or no answer in time. */
export class EngineAway extends DriverError {
  /** There is nobody to ask, or we may not: no socket, nobody behind it, no right to it. A hung engine is not absent. */
  readonly absent: boolean;
  constructor(message: string, absent: boolean) {
    super(RUNTIME_UNAVAILABLE, message);
    this.absent = absent;
  }
}

export const isGone = (error: unknown): boolean => error instanceof EngineRefusal && error.status === 404;
export const isUnavailable = (error: unknown): error is DriverError => error instanceof DriverError && error.code === RUNTIME_UNAVAILABLE;

/** Codes whose texts the engine has kept for years; everything else keeps `otherwise`. First match wins. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/no space left on device|disk quota exceeded/i, "disk_full"],
  [/port is already allocated|address already in use/i, "port_in_use"],
  [/no such image|manifest (for .* )?(unknown|not found)|manifest unknown|not found: manifest|repository .* not found|name unknown|pull access denied|repository does not exist/i, "image_not_found"],
  [/unauthorized|authentication required|access (to the resource is )?denied|no basic auth credentials|incorrect username or password/i, "registry_refused"],
  [/executable file not found|no such file or directory/i, "program_not_found"],
  [/permission denied|exec format error/i, "not_executable"],
  [/non-overlapping IPv4 address pool|all predefined address pools have been fully subnetted/i, "no_free_subnet"],
  [/network .* not found/i, "network_not_found"],
];

const CURES: Readonly<Record<string, string>> = {
  disk_full: "free space where the engine keeps its data and try again",
  no_free_subnet: "remove networks that nobody uses, or give the engine more default-address-pools",
};

/** Which of `codes` the words mean, else `otherwise`. */
export function codeOf(message: string, otherwise: string, codes?: readonly string[]): string {
  return WORDS.find(([pattern, code]) => (codes === undefined || codes.includes(code)) && pattern.test(message))?.[1] ?? otherwise;
}

/** A refusal as a driver error: `what` was being done, the engine's words follow. Other errors pass unchanged. */
export function asRefused(error: unknown, what: string, otherwise: string, codes?: readonly string[]): unknown {
  if (!(error instanceof EngineRefusal)) return error;
  const code = codeOf(error.message, otherwise, codes);
  return new DriverError(code, `${what}: ${plainWords(error.message)}${CURES[code] === undefined ? "" : `; ${CURES[code]}`}`);
}

/** The engine wraps the runtime's words in its own; line ends have no place in a sentence. */
export const plainWords = (message: string): string => message.trim().replace(/\s+/g, " ").slice(0, 1_000);
