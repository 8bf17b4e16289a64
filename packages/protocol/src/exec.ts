/**
 * Running a command in a component: the command on its way down, and the frames that come back, one JSON document per
 * line on both hops. An empty line is a sign of life. The last frame is the end; a stream without one broke.
 */
import { ERROR_CODES, type ErrorCode } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, nameSchema, problemSchema, refSchema } from "./common.ts";

export const EXEC_CONTENT_TYPE = "application/x-ndjson";
export const MAX_STDIN_BYTES = 1_048_576;
/** The kernel's own bound is 128 KiB for one argument; more than this in all is a file, not a command. */
export const MAX_ARGV_CHARS = 131_072;
/** What one command may say in all. What is beyond is counted and not passed on: a command must not fill a master's memory or an audit reader's disk. */
export const MAX_OUTPUT_BYTES = 16 * 1_048_576;
/** One frame's data before base64. */
export const MAX_FRAME_BYTES = 65_536;
/** The longest frame as text: base64 and its envelope. */
export const MAX_FRAME_CHARS = 98_304;
export const DEFAULT_EXEC_TIMEOUT_S = 60;
export const MAX_EXEC_TIMEOUT_S = 3_600;
/** A body with all of stdin and argv. */
export const EXEC_BODY_BYTES = 2 * 1_048_576;
/** Each side says something at least this often; three times that in silence is a broken connection. */
export const EXEC_BEAT_MS = 15_000;

// A NUL cannot be handed to a program, and JSON could carry one.
const argument = z.string().max(MAX_ARGV_CHARS).refine((text) => !text.includes("\u0000"), "must not contain NUL");
const command = z.array(argument).min(1).max(1_024)
  .refine((argv) => argv[0] !== "", "the first element names the program")
  .refine((argv) => argv.reduce((sum, text) => sum + text.length, 0) <= MAX_ARGV_CHARS, `at most ${MAX_ARGV_CHARS} characters in all`);
const stdin = z.base64().max(Math.ceil(MAX_STDIN_BYTES / 3) * 4);
const timeout = z.int().min(1).max(MAX_EXEC_TIMEOUT_S).default(DEFAULT_EXEC_TIMEOUT_S);

export const execRequest = z.strictObject({
  command,
  /** May be left out where there is only one. */
  component: nameSchema.optional(),
  host: refSchema.optional(),
  stdin_base64: stdin.optional(),
  timeout_s: timeout,
});
export type ExecRequestJson = z.infer<typeof execRequest>;

/** Master → agent. Unknown fields are ignored there, as on every route of the agent. */
export const execCommand = z.object({ command, stdin_base64: stdin.optional(), timeout_s: timeout });
export type ExecCommand = z.infer<typeof execCommand>;

const outputFrame = z.object({ stream: z.enum(["stdout", "stderr"]), data: z.base64().max(Math.ceil(MAX_FRAME_BYTES / 3) * 4) });
/** Exactly one of exit_code, signal and error says how it ended. */
const endFrame = z.object({
  exit_code: z.int().min(0).max(255).optional(),
  signal: z.string().max(20).regex(/^[A-Z0-9+]+$/).optional(),
  error: z.object({ code: z.string().max(63).regex(/^[a-z0-9_]+$/), message: cleanText(2_000) }).optional(),
  /** Bytes of output that the bound cut off. */
  truncated_bytes: counterSchema.default(0),
}).refine((end) => [end.exit_code, end.signal, end.error].filter((word) => word !== undefined).length === 1, "give one of exit_code, signal and error");

export const execFrame = z.union([outputFrame, endFrame]);
export type ExecFrame = z.infer<typeof execFrame>;
export type ExecOutputFrame = z.infer<typeof outputFrame>;
export type ExecEndFrame = z.infer<typeof endFrame>;
export const isOutput = (frame: object): frame is ExecOutputFrame => "stream" in frame;

/** What the operator's stream carries: where it runs, then the agent's frames. */
export const execStarted = z.object({ exec_id: idSchema, host: z.string(), component: z.string(), placement_id: idSchema });
export type ExecStarted = z.infer<typeof execStarted>;
export const operatorExecEnd = z.object({
  exit_code: z.int().optional(),
  signal: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  truncated_bytes: counterSchema,
  duration_ms: z.int(),
  /** False: the end could not be written down. That it began is in the audit log in any case. */
  audited: z.boolean(),
});
export type OperatorExecEnd = z.infer<typeof operatorExecEnd>;
/** `problem`: the stream itself failed, a revoked token for one; the command was killed and there is no end. */
export const operatorExecFrame = z.union([execStarted, outputFrame, operatorExecEnd, z.object({ problem: problemSchema })]);

/** The code if it is one of ours; a newer or a lying agent may say anything. */
export const knownCode = (code: string): ErrorCode | undefined => (ERROR_CODES as readonly string[]).includes(code) ? (code as ErrorCode) : undefined;
