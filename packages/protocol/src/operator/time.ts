/** Times as the API says them: RFC 3339, UTC, milliseconds. */
import { z } from "zod";

export const time = z.string();
export const timeOrNull = z.string().nullable();
