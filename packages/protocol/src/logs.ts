/**
 * Captured output. A position is the offset of a byte counted from the first one ever written by that component of that
 * placement, whoever its process is by now: it means the same byte for ever, so it can be kept and resumed from.
 */
import { z } from "zod";
import { counterSchema, idSchema, nameSchema, refSchema } from "./common.ts";

export const MAX_TAIL_BYTES = 1_048_576;
export const MAX_TAIL_LINES = 10_000;
export const MAX_POSITIONS = 10_000;
export const DEFAULT_TAIL_BYTES = 16_384;

const tailBytes = { query: z.coerce.number().int().min(0).max(MAX_TAIL_BYTES), body: z.int().min(0).max(MAX_TAIL_BYTES) };

export const logsQuery = z.strictObject({
  component: nameSchema.optional(),
  host: refSchema.optional(),
  follow: z.stringbool().default(false),
  tail_bytes: tailBytes.query.default(DEFAULT_TAIL_BYTES),
  /** At most so many lines of each component's tail. */
  tail_lines: z.coerce.number().int().min(0).max(MAX_TAIL_LINES).optional(),
  offset: z.coerce.number().int().min(0).optional(),
});

const source = { host: z.string(), placement_id: idSchema, component: z.string() };
/** `offset`: of its first byte. `next`: of the first byte after it, from where reading goes on. */
export const logLine = z.object({ ...source, offset: counterSchema, next: counterSchema, text: z.string() });
export type LogLineJson = z.infer<typeof logLine>;
/**
 * What is not there to be read: `rotated_bytes` fell out of what is kept between the position asked for and `to`. Or the
 * output is shorter than the position (the host was rebuilt): then it began anew, and reading goes on at its beginning.
 */
export const logGap = z.object({ ...source, kind: z.enum(["rotated", "restarted"]), rotated_bytes: counterSchema, from: counterSchema, to: counterSchema });
export type LogGapJson = z.infer<typeof logGap>;
export const logError = z.object({ ...source, error: z.string() });
/** Negative: from the end; not read yet. */
export const logPosition = z.object({ ...source, offset: z.int() });
/** Its placement is gone and it was read to its end; `read` false: its last words could not be read. */
export const logEnd = z.object({ ...source, read: z.boolean() });
export const logReply = z.object({ items: z.array(logLine), gaps: z.array(logGap), errors: z.array(logError), positions: z.array(logPosition) });

/** `<placement id>/<component>` → position. */
export const logPositions = z.record(z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/[a-z0-9][a-z0-9-]{0,62}$/), z.int().min(-MAX_TAIL_BYTES).max(Number.MAX_SAFE_INTEGER))
  .refine((positions) => Object.keys(positions).length <= MAX_POSITIONS, `at most ${MAX_POSITIONS} positions`);
export type LogPositions = z.infer<typeof logPositions>;
export const positionKey = (of: { readonly placement_id: string; readonly component: string }): string => `${of.placement_id}/${of.component}`;

/**
 * Where each component is read from: its position if one is given; else, if any is given, its first byte (it appeared
 * since); else `offset`; else the last `tail_bytes`, of which at most `tail_lines` lines.
 */
export const followLogsRequest = z.strictObject({
  component: nameSchema.optional(),
  host: refSchema.optional(),
  tail_bytes: tailBytes.body.default(DEFAULT_TAIL_BYTES),
  tail_lines: z.int().min(0).max(MAX_TAIL_LINES).optional(),
  offset: counterSchema.optional(),
  positions: logPositions.optional(),
  /** `caught_up`: the stream ends once everything that is there was read. */
  until: z.enum(["stopped", "caught_up"]).default("stopped"),
});
export type FollowLogsRequest = z.infer<typeof followLogsRequest>;

/** The stream's events by name. `log_readable` takes a `log_error` back. */
export const LOG_EVENTS = { log: logLine, log_position: logPosition, log_gap: logGap, log_error: logError, log_readable: z.object(source), log_end: logEnd, log_caught_up: z.object({}) } as const;
