/** What an agent says of its boot sequence: in every beat, and to whoever asks for its health. */
import { BOOT_STATES } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, nameSchema } from "./common.ts";

export const bootReport = z.object({
  stage: nameSchema.nullable(),
  state: z.enum(BOOT_STATES),
  members: z.array(z.object({ name: nameSchema, healthy: z.boolean(), error: cleanText(500).optional() })).max(100),
  /** Grows with every alert that is due: once when a foundation blocks, then every 10 minutes. */
  alerts: counterSchema.default(0),
});
export type BootReportJson = z.infer<typeof bootReport>;
