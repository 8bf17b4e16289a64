/** A body by its schema, or the refusal that names what is wrong with it. */
import type { z } from "zod";
import { invalidRequest } from "../problem.ts";

/** Throws SkepError `invalid_request`. */
export function parseBody<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const parsed = schema.safeParse(body);
  if (!parsed.success) throw invalidRequest(parsed.error, "body");
  return parsed.data;
}
