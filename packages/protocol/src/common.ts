/** Building blocks of every contract: names, ids, times, the problem body, lists. */
import { NAME_PATTERN, ERROR_CODES, cleanTraceparent, type ErrorCode } from "@skep/core";
import { z } from "zod";

/** No C0 controls except tab and newline; they would forge log lines and terminal output. */
// oxlint-disable-next-line no-control-regex -- the point of the pattern is to name the control characters
const CLEAN = /^[^\u0000-\u0008\u000b-\u001f\u007f]*$/;
export const cleanText = (max: number) => z.string().max(max).regex(CLEAN, "must not contain control characters");
export const nameSchema = z.string().regex(new RegExp(NAME_PATTERN), "must be 1–63 of a–z, 0–9 and '-', not starting with '-'");
export const idSchema = z.uuid();
/** A name or an id: both address everything. */
export const refSchema = z.string().min(1).max(63).regex(new RegExp(NAME_PATTERN), "must be a name or an id");
/** Of the agent channel: whatever is no traceparent is as if it were not there, and costs the job or the delta nothing. */
export const traceparentSchema = z.string().transform((text) => cleanTraceparent(text)).optional().catch(undefined);
export const timeSchema = z.iso.datetime({ offset: false });
/** Counters are integers that fit a double exactly; larger ones would be rounded in silence. */
export const counterSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
export const labelName = z.string().min(1).max(63).regex(/^[A-Za-z0-9._/-]+$/);
export const labelsSchema = z.record(labelName, cleanText(255)).refine((labels) => Object.keys(labels).length <= 64, "at most 64 labels");

export const fieldErrorSchema = z.object({ pointer: z.string(), message: z.string() });
/** RFC 9457, with the members that make a refusal explain itself. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.enum(ERROR_CODES as [ErrorCode, ...ErrorCode[]]),
  request_id: z.string(),
  error_id: z.string().optional(),
  retryable: z.boolean(),
  fix: z.string(),
  /** Where waiting helps and it is known how long: the same as Retry-After, in ms. */
  retry_after_ms: z.int().optional(),
  errors: z.array(fieldErrorSchema),
});
export type Problem = z.infer<typeof problemSchema>;

export const listOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next_cursor: z.string().nullable() });
export const pageQuery = { limit: z.coerce.number().int().min(1).max(500).default(50), cursor: z.string().max(200).optional() };
