/** What every command is given: the API, a place for its output, and how to end. Built per invocation. */
import type { Clock, Rng } from "@skep/core";
import type { Api } from "./api/client.ts";
import type { Environment } from "./config.ts";
import type { Screen, ScreenOptions } from "./screen/screen.ts";
import type { Settings } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

export type OpenScreen = (on: Pick<ScreenOptions, "onKey" | "onResize">) => Screen;

export interface Session {
  /** Made on first use: commands that need no master must not fail for want of one. */
  readonly api: Api;
  readonly settings: Settings;
  readonly terminal: Terminal;
  readonly json: boolean;
  /** undefined: stdout is no terminal that can be redrawn, or a program reads it (--json). */
  readonly openScreen: OpenScreen | undefined;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly env: Environment;
  /** The first Ctrl-C. */
  readonly signal: AbortSignal;
  readonly readStdin: () => Promise<string>;
  /** As it is; at most `limit` bytes and one more, by which the caller sees that there was more. */
  readonly readStdinBytes: (limit: number) => Promise<Uint8Array>;
}

/** A command's body. Arguments and options come as commander parsed them; no answer means 0. Only `exec` answers with other codes than ours. */
export type Action<A extends readonly unknown[]> = (session: Session, ...args: A) => Promise<number | void>;

/** Turns a body into commander's action. */
export type Act = <A extends readonly unknown[]>(action: Action<A>) => (...args: unknown[]) => Promise<void>;
