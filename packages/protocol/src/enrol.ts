/** The enrolment door, and the bundle that leads to it. */
import { z } from "zod";
import { idSchema, nameSchema } from "./common.ts";

export const enrolRequest = z.strictObject({ secret: z.string().min(20).max(200), csr_pem: z.string().max(8192) });
export type EnrolRequest = z.infer<typeof enrolRequest>;

export const bundleSchema = z.object({
  version: z.literal(1),
  host_id: idSchema,
  name: nameSchema,
  enrol_urls: z.array(z.url()).min(1),
  master_urls: z.array(z.url()).min(1),
  ca_cert_pem: z.string(),
  ca_sha256: z.string().regex(/^[0-9a-f]{64}$/),
  trust_domain: z.string(),
  token_id: idSchema,
  token: z.string(),
  expires_at: z.string(),
  agent_port: z.int().min(0).max(65535),
  cert_pem: z.string().optional(),
  key_pem: z.string().optional(),
});
export type Bundle = z.infer<typeof bundleSchema>;
